"""`aframe`, or `python -m aframe`: begin an experiment of one's own, look at the machine."""

import argparse
import sys
from collections.abc import Sequence

from aframe import doctor, init
from aframe.environment import SetupError


def make_parser() -> argparse.ArgumentParser:
    """Parser of the two verbs and their options."""
    parser = argparse.ArgumentParser(
        prog="aframe",
        description="Begin an experiment of one's own, and look at the machine it is to run on. "
        "Pipelines are run by `law run`.",
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for module in (init, doctor):
        name = module.__name__.rpartition(".")[2]
        text = (module.__doc__ or "").splitlines()[0]
        verb = verbs.add_parser(name, help=text, description=text)
        module.add_options(verb)
        verb.set_defaults(run=module.run)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point.

    Args:
        arguments: Options; those of the process if None.

    Returns:
        The exit code.
    """
    given = make_parser().parse_args(arguments)
    try:
        return int(given.run(given))
    except (ValueError, OSError, SetupError) as error:
        sys.stderr.write(f"aframe {given.verb}: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
