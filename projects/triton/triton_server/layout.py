"""The folder of backends that the server is shown."""

import hashlib
import os
import shutil
import sys
import tempfile
from pathlib import Path

from triton_server.installation import Installation, InstallationError

# One folder per backend of ours, named as the server looks them up.
OWN_BACKENDS = Path(__file__).resolve().parent / "backends"
OWN_NAMES = ("onnxruntime", "pytorch")
UTILITIES = "python/triton_python_backend_utils.py"
# What Python models import is mended for NumPy 2, but not for a model with an environment of its
# own.
MENDING = b"""
try:
    from triton_server.backends.tensors import install
except ImportError:
    pass
else:
    install()
"""


def backend_files(installation: Installation) -> dict[str, bytes]:
    """What the folder holds: paths in it, and the content of each file.

    The stub must lie beside the Python backend's library, where the package does not have it, and
    the server refuses links that lead out of the folder.
    """
    sources = {
        f"python/{path.name}": path
        for path in (*installation.python_backend.iterdir(), installation.stub)
        if path.is_file()
    }
    for name in OWN_NAMES:
        sources[f"{name}/model.py"] = OWN_BACKENDS / name / "model.py"
    contents = {name: path.read_bytes() for name, path in sources.items()}
    contents[UTILITIES] += MENDING
    return contents


def lay_out_backends(installation: Installation) -> Path:
    """Make the folder, or find the one that was made before.

    It stands in the environment, or, where that cannot be written to (an image), in the user's
    cache. Its name is a digest of what it holds, and it appears whole, so that servers that start
    at the same time share it.

    Raises:
        InstallationError: No place for it can be written to.
    """
    files = backend_files(installation)
    digest = hashlib.sha256()
    for path, content in sorted(files.items()):
        digest.update(path.encode())
        digest.update(content)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    places = [Path(sys.prefix, "share", "triton-backends"), cache / "aframe" / "triton-backends"]
    name = digest.hexdigest()[:16]
    for place in places:
        if (place / name).is_dir():
            return place / name
    for place in places:
        try:
            place.mkdir(parents=True, exist_ok=True)
            return _publish(files, place / name)
        except OSError:
            continue
    raise InstallationError(
        f"cannot write to {' or '.join(map(str, places))}: set XDG_CACHE_HOME to a folder that "
        "can be written to"
    )


def _publish(files: dict[str, bytes], target: Path) -> Path:
    staged = Path(tempfile.mkdtemp(dir=target.parent, prefix=".staged-"))
    try:
        for name, content in files.items():
            file = staged / name
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(content)
            file.chmod(0o755)
        staged.chmod(0o755)
        staged.rename(target)
    except OSError:
        # Another server was faster, or the place cannot be written to.
        shutil.rmtree(staged, ignore_errors=True)
        if not target.is_dir():
            raise
    return target
