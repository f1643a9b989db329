"""The command line of a stage: verbs, a log on stderr, a sentence where the input is bad."""

import logging
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from jsonargparse import ArgumentParser

from runtime.storage import with_urls
from runtime.storage.places import Places, names_urls

# What a user can mend. Anything else is a fault of ours and keeps its traceback.
USER_ERRORS = (ValueError, FileNotFoundError, PermissionError, NotADirectoryError)


def configure_logging() -> None:
    """Log counted lines to stderr, warnings of libraries included."""
    logging.basicConfig(
        level=os.environ.get("AFRAME_LOG_LEVEL", "INFO"),
        format="%(asctime)s %(name)s %(levelname)s %(message)s",
        datefmt="%H:%M:%S",
        stream=sys.stderr,
        force=True,
    )
    logging.captureWarnings(True)


def command_line(
    program: str,
    verbs: Mapping[str, Callable[..., Any]],
    argv: list[str] | None = None,
    errors: tuple[type[Exception], ...] = (),
) -> NoReturn:
    """Run one verb of a stage and end the process.

    Every keyword of the verb's function is an option; its docstring is the help text. Paths may be
    URLs: the function gets copies on this machine, and what it makes is published when it has
    returned.

    Args:
        program: Name of the stage, for example `datagen`.
        verbs: Function of each verb.
        argv: Arguments; those of the process if None.
        errors: Further exceptions whose message is all that a user needs, such as those of a
            server that does not start.
    """
    configure_logging()
    parser = ArgumentParser(prog=program, description=sys.modules[program].__doc__)
    commands = parser.add_subcommands(dest="verb")
    for name, function in verbs.items():
        summary = (function.__doc__ or "").split("\n", maxsplit=1)[0]
        command = ArgumentParser(prog=f"{program} {name}", description=summary)
        command.add_argument("--config", action="config", help="YAML file with the options below")
        command.add_function_arguments(function, as_group=False)
        commands.add_subcommand(name, command, help=summary)
    settings = parser.instantiate_classes(parser.parse_args(argv))
    verb = settings.verb
    options = settings[verb].as_dict() if hasattr(settings[verb], "as_dict") else settings[verb]
    options.pop("config", None)

    def work() -> None:
        places = Places()
        values = {name: places.localise(name, value) for name, value in options.items()}
        with places.published():
            verbs[verb](**values)

    explain(f"{program} {verb}", work, errors)


def run_or_explain(
    name: str, work: Callable[[], Any], errors: tuple[type[Exception], ...] = ()
) -> NoReturn:
    """Do the work of a stage that reads `sys.argv` by itself, and exit.

    URLs among the words become paths of copies first, as in `command_line`.

    Args:
        name: Whose sentence it is.
        work: What to do.
        errors: Further exceptions that a sentence suffices for.
    """

    def with_places() -> None:
        places = Places()
        sys.argv[1:] = places.localise_words(sys.argv[1:])
        with places.published():
            work()

    explain(name, with_places if names_urls(sys.argv[1:]) else work, errors)


def explain(
    name: str, work: Callable[[], Any], errors: tuple[type[Exception], ...] = ()
) -> NoReturn:
    """Do the work and exit: 0, or 1 with one sentence for what the user can mend.

    Args:
        name: Whose sentence it is.
        work: What to do.
        errors: Further exceptions that a sentence suffices for.
    """
    mendable: tuple[type[Exception], ...] = USER_ERRORS + errors
    try:
        work()
    except mendable as error:
        if os.environ.get("AFRAME_TRACEBACK"):
            raise
        sys.stderr.write(f"{name}: {with_urls(str(error))}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.stderr.write(f"{name}: interrupted; run it again to go on\n")
        sys.exit(130)
    sys.exit(0)
