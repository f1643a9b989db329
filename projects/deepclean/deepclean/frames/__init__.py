"""Frame files: their names, reading and writing them."""

from deepclean.frames.channels import FrameError, MissingChannelError
from deepclean.frames.folder import FrameFolder
from deepclean.frames.guarded import GuardedReader
from deepclean.frames.names import Format, FrameName, frame_name, list_frames
from deepclean.frames.opening import open_frames
from deepclean.frames.reading import read_channels, read_frame
from deepclean.frames.writing import write_frame

__all__ = [
    "Format",
    "FrameError",
    "FrameFolder",
    "FrameName",
    "GuardedReader",
    "MissingChannelError",
    "frame_name",
    "list_frames",
    "open_frames",
    "read_channels",
    "read_frame",
    "write_frame",
]
