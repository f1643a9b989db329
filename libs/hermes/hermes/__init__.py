"""Inference as a service: model repositories (`quiver`), client, server and monitor (`aeriel`)."""
