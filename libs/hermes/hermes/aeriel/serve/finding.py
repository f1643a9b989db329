"""Where the environment of the server is."""

import importlib.util
import os
import sys
from pathlib import Path

from hermes.errors import ServerError

VARIABLE = "HERMES_TRITON"


def find_server() -> Path | None:
    """The Python interpreter whose environment holds a server (the package `triton_server`).

    In this order: the path in the variable HERMES_TRITON, this environment, and the folder
    `projects/triton/.venv` of the checkout that this library lies in.

    Returns:
        The interpreter; None if there is none.

    Raises:
        ServerError: HERMES_TRITON names something that is not there.
    """
    named = os.environ.get(VARIABLE)
    if named:
        path = Path(named)
        if not path.is_file():
            raise ServerError(
                f"{VARIABLE} is {named}, which is no file: it must be the path of the Python "
                "interpreter of an environment with triton_server"
            )
        return path
    if all(importlib.util.find_spec(name) for name in ("triton_server", "pytriton")):
        return Path(sys.executable)
    for folder in Path(__file__).resolve().parents:
        path = folder / "projects" / "triton" / ".venv" / "bin" / "python"
        if path.is_file():
            return path
    return None
