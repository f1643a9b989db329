"""A model repository run in this process, without a server."""

from hermes.aeriel.inprocess.engine import InProcess

__all__ = ["InProcess"]
