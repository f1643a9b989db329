"""Where the server's parts lie in this environment."""

import ctypes
import importlib.util
import platform
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

OLDEST_GLIBC = (2, 35)
PYTHON_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


class InstallationError(RuntimeError):
    """This environment cannot run the server; the message says why and what to do."""


@dataclass(frozen=True)
class Installation:
    """Files of the package `nvidia-pytriton`, and the Python library that its backend needs.

    Attributes:
        binary: The server.
        python_backend: Folder of the Python backend.
        stub: Program that runs one Python model, for the version of this interpreter.
        libraries: Shared libraries that came with the package.
        python_library_folder: Folder of this interpreter's shared library; None if the system's
            linker finds it by itself.
    """

    binary: Path
    python_backend: Path
    stub: Path
    libraries: Path
    python_library_folder: Path | None


def find_installation() -> Installation:
    """Look up the server's parts.

    Raises:
        InstallationError: One is missing, or the system is too old for them.
    """
    check_system()
    package = find_package()
    server = package / "tritonserver"
    stubs = server / "python_backend_stubs"
    stub = stubs / PYTHON_VERSION / "triton_python_backend_stub"
    if not stub.is_file():
        known = ", ".join(sorted(path.name for path in stubs.glob("3.*")))
        raise InstallationError(
            f"nvidia-pytriton has no stub for Python {PYTHON_VERSION}, it has some for {known}: "
            "make this environment with one of these"
        )
    return Installation(
        binary=server / "bin" / "tritonserver",
        python_backend=server / "backends" / "python",
        stub=stub,
        libraries=package.parent / "nvidia_pytriton.libs",
        python_library_folder=find_python_library(),
    )


def check_system() -> None:
    """Check that the C library is one that the binary was built for.

    Raises:
        InstallationError: It is another, or an older one.
    """
    name, version = platform.libc_ver()
    numbers = tuple(int(number) for number in version.split(".")[:2] if number.isdigit())
    if name != "glibc" or numbers < OLDEST_GLIBC:
        raise InstallationError(
            f"the server needs Linux with glibc {'.'.join(map(str, OLDEST_GLIBC))} or newer, "
            f"here is {platform.system()} with {f'{name} {version}'.strip() or 'no glibc'}: use a "
            "newer system, or an image of the server (runner apptainer or docker)"
        )


def find_package() -> Path:
    """Folder of the package `pytriton`, found without importing it.

    Raises:
        InstallationError: It is not installed, or holds no server.
    """
    spec = importlib.util.find_spec("pytriton")
    if spec is None or not spec.submodule_search_locations:
        raise InstallationError(
            f"no nvidia-pytriton in {sys.prefix}: there are wheels for Linux on x86_64 and "
            "aarch64; elsewhere use an image of the server (runner apptainer or docker)"
        )
    package = Path(spec.submodule_search_locations[0])
    if not (package / "tritonserver" / "bin" / "tritonserver").is_file():
        raise InstallationError(
            f"{package} holds no tritonserver/bin/tritonserver: install the wheel of "
            "nvidia-pytriton, not its source"
        )
    return package


def find_python_library() -> Path | None:
    """Folder of this interpreter's shared library, which the stub is linked to.

    Returns:
        The folder; None if the linker finds the library by itself.

    Raises:
        InstallationError: There is none.
    """
    name = f"libpython{PYTHON_VERSION}.so.1.0"
    library_folder = sysconfig.get_config_var("LIBDIR") or ""
    folders = [
        Path(library_folder),
        Path(library_folder, sysconfig.get_config_var("MULTIARCH") or ""),
        Path(sys.base_prefix, "lib"),
    ]
    for folder in folders:
        if (folder / name).is_file():
            return folder
    try:
        ctypes.CDLL(name)
    except OSError:
        raise InstallationError(
            f"no {name} in {', '.join(map(str, folders))}: install it (Debian, Ubuntu: "
            f"libpython{PYTHON_VERSION}; Fedora: python{PYTHON_VERSION}-libs), or make this "
            "environment with a Python that was built with --enable-shared"
        ) from None
    return None
