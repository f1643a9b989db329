"""All services of a live installation on one machine."""
