"""Models that cut a stream into overlapping windows, and join windows to a stream."""

from hermes.quiver.streaming.averager import OnlineAverager
from hermes.quiver.streaming.snapshotter import Snapshotter

__all__ = ["OnlineAverager", "Snapshotter"]
