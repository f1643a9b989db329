"""What can go wrong between the cleaner and a server."""

from __future__ import annotations


# Named by what happened, which is how a caller thinks of it.
class ServerAway(ConnectionError):  # noqa: N818
    """No answer now: the server is gone, silent, or does not serve the version; ask later."""
