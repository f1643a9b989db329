"""`python -m infer`."""

from hermes.errors import InferenceError, ServerError
from runtime import command_line

from infer.mdc import mdc
from infer.search import frames, injections, merge, search, slides, zero_lag

VERBS = {
    "search": search,
    "frames": frames,
    "slides": slides,
    "zero-lag": zero_lag,
    "injections": injections,
    "merge": merge,
    "mdc": mdc,
}

if __name__ == "__main__":
    command_line("infer", VERBS, errors=(InferenceError, ServerError))
