"""`python -m infer`."""

from hermes.errors import InferenceError, ServerError
from runtime import command_line

from infer.search import search

if __name__ == "__main__":
    command_line("infer", {"search": search}, errors=(InferenceError, ServerError))
