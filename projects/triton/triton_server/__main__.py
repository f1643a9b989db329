"""`python -m triton_server ARGUMENTS ...`: become the server, with its own arguments."""

import os
import sys
from pathlib import Path

from triton_server.installation import Installation, InstallationError, find_installation
from triton_server.layout import lay_out_backends


def server_environment(installation: Installation) -> dict[str, str]:
    """Variables with which the server and its stubs find this interpreter and their libraries.

    The stub takes its packages from the `python3` that is first on the search path.
    """
    environment = dict(os.environ)
    folders = [installation.python_library_folder, installation.libraries]
    environment["LD_LIBRARY_PATH"] = _join(*folders, os.environ.get("LD_LIBRARY_PATH"))
    environment["PATH"] = _join(Path(sys.prefix, "bin"), os.environ.get("PATH"))
    # Each instance of a model is a process of its own: more threads only get in each other's way.
    environment.setdefault("OMP_NUM_THREADS", "1")
    # A folder of bytecode in a model's would look like a change of it: it would be loaded anew.
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    return environment


def _join(*folders: Path | str | None) -> str:
    return os.pathsep.join(str(folder) for folder in folders if folder)


def main(arguments: list[str]) -> None:
    """Replace this process by the server.

    Args:
        arguments: Those of `tritonserver`.

    Raises:
        InstallationError: It cannot run here.
    """
    installation = find_installation()
    backends = lay_out_backends(installation)
    command = [str(installation.binary), f"--backend-directory={backends}", *arguments]
    try:
        os.execve(installation.binary, command, server_environment(installation))
    except OSError as error:
        raise InstallationError(f"cannot run {installation.binary}: {error.strerror}") from None


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except InstallationError as problem:
        sys.exit(f"triton_server: {problem}")
