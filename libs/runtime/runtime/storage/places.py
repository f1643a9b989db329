"""URLs among a command's options: brought before it runs, published when it has ended well."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runtime.storage import bucket
from runtime.storage.address import as_url, is_url, join, local_path, mirror
from runtime.storage.keeping import discard, kept
from runtime.storage.marker import COMPLETE, is_hidden
from runtime.storage.publishing import publish
from runtime.storage.receiving import exists, fetch
from runtime.storage.records import stamps

# Options that name what a command makes. It is published; nothing need be there before.
MADE = ("output", "scores")
# Those that name what some commands make or add to, and others read: brought if it is there, and
# published if the command has changed it.
CHANGED = ("folder", "run_dir")
# Those of them from which an interrupted command goes on.
RESUMED = ("run_dir",)
# Addresses that a command opens by itself.
OWN = ("storage_dir",)

_OPTION = re.compile(r"--([\w.-]+)(?:=(.*))?", re.DOTALL)


def _last(name: str) -> str:
    return name.rpartition(".")[2].replace("-", "_")


class Places:
    """The places in buckets that one command names."""

    def __init__(self) -> None:
        self.made: list[Path] = []
        self.resumed: list[Path] = []

    def localise(self, name: str, value: Any) -> Any:
        """The value of an option, with paths of copies in the place of URLs.

        Args:
            name: Name of the option.
            value: A path, a text, a list of them, or anything else, which stays as it is.

        Raises:
            FileNotFoundError: An input is not there.
            StorageError: The bucket cannot be used, or an input is incomplete or damaged.
        """
        if isinstance(value, list | tuple):
            return type(value)(self.localise(name, item) for item in value)
        if not is_url(value) or _last(name) in OWN:
            return value
        path = self._bring(_last(name), as_url(value))
        return path if isinstance(value, Path) else str(path)

    def _bring(self, name: str, url: str) -> Path:
        path = local_path(url)
        if name in MADE:
            bucket.require_bucket(url)
        else:
            try:
                fetch(url)
            except FileNotFoundError:
                if name not in CHANGED:
                    raise
        if name in (*MADE, *CHANGED):
            path.parent.mkdir(parents=True, exist_ok=True)
            self.made.append(path)
            if name in RESUMED:
                self.resumed.append(path)
        return path

    def localise_words(self, words: list[str]) -> list[str]:
        """The words of a command line, with paths of copies in the place of URLs."""
        found, name = [], ""
        for word in words:
            option = _OPTION.fullmatch(word)
            if option is None:
                found.append(self._localise_text(name, word))
                continue
            name, value = option[1], option[2]
            found.append(word if value is None else f"--{name}={self._localise_text(name, value)}")
        return found

    def _localise_text(self, name: str, text: str) -> str:
        if is_url(text):
            return str(self.localise(name, text))
        if text.startswith("[") and "s3://" in text:
            with contextlib.suppress(json.JSONDecodeError):
                return json.dumps(self.localise(name, json.loads(text)))
        return text

    @contextlib.contextmanager
    def published(self) -> Iterator[None]:
        """Publish what a command makes when it is done, and states of runs now and then."""
        with contextlib.ExitStack() as stack:
            for path in self.resumed:
                stack.enter_context(kept(path))
            before = {path: stamps(path) for path in self.made}
            yield
        for path, known in before.items():
            found = stamps(path).items()
            changed = [name for name, stamp in found if stamp != known.get(name)]
            changed = [name for name in changed if not is_hidden(name)]
            # a command that has only read what others make must not call it complete
            if changed:
                _publish_changes(path, changed)
                discard(path)


def _publish_changes(path: Path, changed: list[str]) -> None:
    """Publish a file or folder; of a folder of products, those that are new or changed."""
    url = as_url("s3://" + path.relative_to(mirror()).as_posix())
    if path.is_dir() and not exists(url) and _holds_products(url):
        for name in changed:
            publish(path / name, join(url, name))
    elif path.exists():
        publish(path, url)


def _holds_products(url: str) -> bool:
    return any(name.endswith(COMPLETE) for name in bucket.objects_below(url))


def names_urls(words: list[str]) -> bool:
    """Whether a command line names anything in a bucket."""
    return any("s3://" in word for word in words)
