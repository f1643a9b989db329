"""The folder of models that a server is shown."""

import contextlib
import logging
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import fsspec

from hermes.errors import RepositoryError

CONFIG = "config.pbtxt"
_PYTHON_BACKEND = re.compile(r'^\s*backend\s*:\s*"python"', re.MULTILINE)
logger = logging.getLogger(__name__)


@contextlib.contextmanager
def local_folder(repository: str | Path) -> Iterator[Path]:
    """A repository as a folder of this machine.

    The server reads folders alone. A repository elsewhere (`s3://`, `gs://`) is copied to a
    temporary folder: versions that are published later are not seen by this server.

    Args:
        repository: Folder, or URL that fsspec knows.

    Raises:
        RepositoryError: It is not there, or holds no model.
    """
    url = str(repository)
    if "://" not in url or url.startswith("file://"):
        folder = Path(url.removeprefix("file://")).absolute()
        if not folder.is_dir():
            raise RepositoryError(f"no model repository at {folder}: it must be a folder")
        check_has_models(folder, url)
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="hermes-repository-") as temporary:
        store, path = fsspec.url_to_fs(url)
        if not store.isdir(path):
            raise RepositoryError(f"no model repository at {url}")
        logger.info("copying %s to %s: what is published later is not served", url, temporary)
        folder = Path(temporary) / "repository"
        store.get(path.rstrip("/") + "/", f"{folder}/", recursive=True)
        check_has_models(folder, url)
        yield folder


def list_models(folder: Path) -> list[str]:
    """Names of the models in a repository; other folders and hidden ones are none."""
    configs = folder.glob(f"*/{CONFIG}")
    return sorted(path.parent.name for path in configs if not path.parent.name.startswith("."))


def holds_python_models(folder: Path) -> bool:
    """Whether a model is Python code, which may have work to do when the server ends."""
    configs = (folder / name / CONFIG for name in list_models(folder))
    return any(_PYTHON_BACKEND.search(path.read_text()) for path in configs)


def check_has_models(folder: Path, where: str) -> None:
    """Check that a repository holds a model.

    Raises:
        RepositoryError: It holds none.
    """
    if not list_models(folder):
        raise RepositoryError(
            f"{where} holds no model: a model is a folder with a file {CONFIG} in it"
        )
