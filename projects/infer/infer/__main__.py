"""`python -m infer`."""

from runtime import command_line

from infer.search import search

if __name__ == "__main__":
    command_line("infer", {"search": search})
