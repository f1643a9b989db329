"""Versions on an inference server: exported, kept in step with their roles, and asked."""

from deepclean.served.errors import ServerAway
from deepclean.served.sources import MemorySource, Source, Transport, open_source

__all__ = ["MemorySource", "ServerAway", "Source", "Transport", "open_source"]
