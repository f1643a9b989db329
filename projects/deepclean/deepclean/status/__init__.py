"""The status page of a live installation."""

from deepclean.status.server import serve_status

__all__ = ["serve_status"]
