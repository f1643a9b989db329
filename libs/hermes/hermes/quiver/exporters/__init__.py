"""From a network to the file of a version."""
