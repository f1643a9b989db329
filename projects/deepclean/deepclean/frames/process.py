"""The process in which frames are read; see `deepclean.frames.guarded`.

A module of its own, which nothing imports: it is run.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys

from deepclean.frames.channels import FrameError
from deepclean.frames.guarded import SIZE
from deepclean.frames.reading import read_frame


def main() -> None:
    """Answer requests until the other end has gone."""
    # an interrupt from the keyboard is for the process that asks
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # lalframe prints; what it prints must not come between the answers
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    while True:
        try:
            path, start, names, duration = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            answer: object = read_frame(path, start, names, duration)
        except FrameError as error:
            answer = error
        except FileNotFoundError as error:
            answer = FrameError(str(error))
        content = pickle.dumps(answer)
        answers.write(SIZE.pack(len(content)) + content)
        answers.flush()


if __name__ == "__main__":
    main()
