"""Frame files: their names, reading and writing them."""

from deepclean.frames.folder import FrameFolder
from deepclean.frames.guarded import GuardedReader
from deepclean.frames.names import FrameName, frame_name, list_frames
from deepclean.frames.reading import FrameError, read_channels, read_frame
from deepclean.frames.writing import write_frame

__all__ = [
    "FrameError",
    "FrameFolder",
    "FrameName",
    "GuardedReader",
    "frame_name",
    "list_frames",
    "read_channels",
    "read_frame",
    "write_frame",
]
