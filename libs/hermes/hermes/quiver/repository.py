"""A folder, or a place in object storage, that holds models."""

from __future__ import annotations

import logging
import os
import re
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from tritonclient.grpc.model_config_pb2 import ModelConfig

from hermes.errors import RepositoryError
from hermes.quiver.config import FILE, parse_config
from hermes.quiver.ensemble import EnsembleModel
from hermes.quiver.model import Model
from hermes.quiver.platform import Platform
from hermes.quiver.store import STAGING, Store

log = logging.getLogger("hermes")


class Models(dict[str, Model]):
    """Models by name; asking for one that is absent or broken says why it is not here."""

    def __init__(self, repository: ModelRepository) -> None:
        super().__init__()
        self._repository = repository

    def __missing__(self, name: str) -> Model:
        if name in self._repository.broken:
            raise self._repository.broken[name]
        known = ", ".join(sorted(self)) or "none"
        raise RepositoryError(f"no model {name} in {self._repository.store.url()}: it has {known}")


class ModelRepository:
    """Models in the layout of Triton: `<model>/config.pbtxt` and `<model>/<version>/<file>`.

    Args:
        path: Folder, or URL such as `s3://bucket/models` or `gs://bucket/models`.
        clean: Remove the models that are there.
        options: What the file system of fsspec takes, such as `endpoint_url`.

    Attributes:
        models: Models by name. One that is broken does not keep the others from use: asking for
            it raises what is wrong with it.
        broken: What is wrong, by name of the model.
        strays: Why a folder is no model, by its name.
    """

    def __init__(self, path: str | os.PathLike[str], clean: bool = False, **options: Any) -> None:
        self.store = Store(Path(path) if isinstance(path, os.PathLike) else path, **options)
        self.models = Models(self)
        self.broken: dict[str, RepositoryError] = {}
        self.strays: dict[str, str] = {}
        self.refresh()
        if clean:
            self.clean()

    def __repr__(self) -> str:
        return f"<ModelRepository {self.store.url()}: {', '.join(self.models) or 'no models'}>"

    def refresh(self) -> None:
        """Read the repository anew; models that are only added here and not exported are kept."""
        found, self.broken, self.strays = {}, {}, {}
        for name in self.store.folders():
            if name.startswith(".") and STAGING in name:
                continue
            path = self.store.url(name, FILE)
            try:
                text = self.store.read(name, FILE)
            except FileNotFoundError:
                self.strays[name] = f"{path} is missing"
                log.warning(
                    "%s: no model, %s is missing; a Triton server would not start",
                    self.store.url(name),
                    FILE,
                )
                continue
            try:
                found[name] = self._open(name, parse_config(text, path))
            except RepositoryError as error:
                self.broken[name] = error
                log.warning("%s", error)
        for name, model in self.models.items():
            if name not in found and name not in self.broken and not model.published:
                found[name] = model
        self.models.clear()
        self.models.update(found)

    def check(self) -> None:
        """Check all that is here: configurations, files, and how ensembles are put together.

        Raises:
            RepositoryError: The first thing that is wrong.
        """
        for error in self.broken.values():
            raise error
        for model in self.models.values():
            model.check()

    def add(self, name: str, platform: Platform | str, force: bool = False) -> Model:
        """Add a model; it is written with its first version.

        Args:
            name: Its name.
            platform: What will run it.
            force: Take the next free of `<name>_0`, `<name>_1`, ... where the name is taken.

        Raises:
            RepositoryError: The name is taken or cannot be a folder's, or there is no such
                platform.
        """
        if not re.fullmatch(r"\w[\w.+-]*", name):
            raise RepositoryError(
                f'"{name}" cannot be the name of a model: use letters, digits, "-", "_" and "."'
            )
        try:
            platform = Platform(platform)
        except ValueError:
            known = ", ".join(p.name for p in Platform)
            raise RepositoryError(f"{name}: platform is {platform}, expected {known}") from None
        taken = {*self.models, *self.broken, *self.strays, *self.store.folders()}
        if name in taken:
            if not force:
                raise RepositoryError(
                    f"{self.store.url(name)} exists: take another name, or force=True for one "
                    "with a number, or remove it"
                )
            name = next(n for n in (f"{name}_{i}" for i in count()) if n not in taken)
        config = ModelConfig(name=name)
        platform.write_to(config)
        kind = EnsembleModel if platform is Platform.ENSEMBLE else Model
        self.models[name] = kind(self, name, config)
        return self.models[name]

    def users(self, name: str, version: int | None = None) -> list[str]:
        """Names of the ensembles that use a model.

        Args:
            name: Name of the model.
            version: Count only those that ask for this version by its number.
        """
        return sorted(
            ensemble.name
            for ensemble in self.models.values()
            for step in ensemble.config.ensemble_scheduling.step[:]
            if step.model_name == name and version in (None, step.model_version)
        )

    def remove(self, model: str | Model) -> None:
        """Remove a model with all its versions.

        Raises:
            RepositoryError: It is not here, has pinned versions, or an ensemble uses it.
        """
        name = model if isinstance(model, str) else model.name
        if name not in self.broken:
            model = self.models[name]
            self._require_unpinned(model)
            users = self.users(name)
            if users:
                raise RepositoryError(
                    f"{self.store.url(name)} is used by {', '.join(users)}: remove that first"
                )
        if name in self.store.folders():
            self.store.remove(name)
        self.models.pop(name, None)
        self.broken.pop(name, None)

    def clean(self) -> None:
        """Remove all models, and leave what is no model.

        Raises:
            RepositoryError: One has pinned versions; nothing is removed.
        """
        for model in self.models.values():
            self._require_unpinned(model)
        # ensembles first: at no time does one lack a model
        names = sorted(self.models, key=lambda n: not isinstance(self.models[n], EnsembleModel))
        for name in [*names, *self.broken]:
            if name in self.store.folders():
                self.store.remove(name)
        self.models.clear()
        self.broken.clear()

    def delete(self) -> None:
        """Remove all models, and the repository's folder if nothing else is in it.

        Raises:
            RepositoryError: A model has pinned versions; nothing is removed.
        """
        self.clean()
        if self.store.is_local and Path(self.store.root).is_dir():
            with suppress(OSError):
                Path(self.store.root).rmdir()

    def _require_unpinned(self, model: Model) -> None:
        if model.pinned_versions:
            raise RepositoryError(
                f"{self.store.url(model.name)} has pinned versions {model.pinned_versions}: unpin "
                "them before the model is removed"
            )

    def _open(self, name: str, config: ModelConfig) -> Model:
        kind = EnsembleModel if Platform.of(config) is Platform.ENSEMBLE else Model
        model = self.models.get(name)
        if type(model) is kind:
            # whoever holds it sees what is new
            model.config.CopyFrom(config)
        else:
            model = kind(self, name, config)
        model.remember()
        return model
