"""One model of a repository."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tritonclient.grpc.model_config_pb2 import (
    ModelConfig,
    ModelInput,
    ModelInstanceGroup,
    ModelOutput,
)

from hermes.dtypes import from_config
from hermes.errors import RepositoryError
from hermes.quiver import versions
from hermes.quiver.config import FILE, check_config, check_running, format_config, parse_config
from hermes.quiver.declaration import MAX_BATCH, Declaration
from hermes.quiver.parameters import MEMORY, WARM_UP, get_count
from hermes.quiver.platform import Platform
from hermes.quiver.sequences import IDLE_TIME, set_sequences
from hermes.quiver.tensor import ExposedTensor, plain_name

if TYPE_CHECKING:
    from hermes.quiver.repository import ModelRepository


class Model:
    """A model of a repository; made by `ModelRepository`.

    Attributes:
        repository: The repository.
        name: Name of the model and of its folder.
        config: Its configuration, as Triton's protobuf. What is changed here goes into the file
            with the next `export_version` or `write_config`.
    """

    def __init__(self, repository: ModelRepository, name: str, config: ModelConfig) -> None:
        self.repository = repository
        self.name = name
        self.config = config
        self._written = ModelConfig()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} ({self.platform.name}) {self.versions}>"

    @property
    def platform(self) -> Platform:
        """What runs it."""
        return Platform.of(self.config)

    @property
    def config_path(self) -> str:
        """Path or URL of its configuration."""
        return self.repository.store.url(self.name, FILE)

    def refresh(self) -> None:
        """Read the configuration anew.

        Raises:
            RepositoryError: It is wrong.
            FileNotFoundError: It is not there.
        """
        text = self.repository.store.read(self.name, FILE)
        self.config.CopyFrom(parse_config(text, self.config_path))
        self.remember()

    def remember(self) -> None:
        """Take the configuration for what is in the file now."""
        self._written.CopyFrom(self.config)

    @property
    def published(self) -> bool:
        """Whether it is in the repository's place, not in this process alone."""
        return bool(self._written.name)

    @property
    def stateful(self) -> bool:
        """Whether requests belong to sequences."""
        return self.config.HasField("sequence_batching")

    # versions

    @property
    def versions(self) -> list[int]:
        """Versions that are there now, in order."""
        names = self.repository.store.folders(self.name)
        return sorted(int(name) for name in names if name.isdecimal() and not name.startswith("0"))

    @property
    def served_versions(self) -> list[int]:
        """Versions that servers serve, by `version_policy`; the last one is what -1 means."""
        return versions.served(self.config, self.versions)

    @property
    def pinned_versions(self) -> list[int]:
        """Versions that are never removed."""
        return versions.pinned(self.config)

    def resolve(self, version: int = -1) -> int:
        """Number of a version that is served.

        Args:
            version: The number; -1 for the one that the model serves by itself.

        Raises:
            RepositoryError: It is not served.
        """
        served = self.served_versions
        if version == -1 and served:
            return served[-1]
        if version in served:
            return version
        asked = "any version" if version == -1 else f"version {version}"
        raise RepositoryError(
            f"{self.repository.store.url(self.name)}: {asked} is not served; there are "
            f"{self.versions or 'none'}, of which {served or 'none'} are served by version_policy"
        )

    def file(self, version: int = -1) -> Path:
        """A version's file on this machine; from object storage it is copied once.

        Args:
            version: A version that is there, served or not; -1 as in `resolve`.

        Raises:
            FileNotFoundError: The version or its file is not there.
            RepositoryError: No version is served.
        """
        number = self.resolve() if version == -1 else version
        return self.repository.store.local(self.name, str(number), self.file_name)

    @property
    def file_name(self) -> str:
        """Name of the file in a version's folder."""
        return self.config.default_model_filename or self.platform.file_name

    # tensors

    @property
    def inputs(self) -> dict[str, ExposedTensor]:
        """Inputs by name, states not among them."""
        return self._expose(self.config.input)

    @property
    def outputs(self) -> dict[str, ExposedTensor]:
        """Outputs by name, states not among them."""
        return self._expose(self.config.output)

    @property
    def states(self) -> dict[str, str]:
        """Names of the states' outputs by those of their inputs."""
        plain = plain_name if self.platform is Platform.TORCHSCRIPT else str
        states = self.config.sequence_batching.state
        return {plain(state.input_name): plain(state.output_name) for state in states}

    @property
    def memory(self) -> int | None:
        """Updates after which nothing of what came before is left; None if it never forgets."""
        return get_count(self.config, MEMORY)

    @property
    def warm_up(self) -> int | None:
        """First answers of a sequence that look at its first state; None if that is unknown."""
        return get_count(self.config, WARM_UP)

    def _expose(self, ports: Iterable[ModelInput | ModelOutput]) -> dict[str, ExposedTensor]:
        numbered = self.platform is Platform.TORCHSCRIPT
        exposed = {}
        for port in ports:
            dims = [None] * bool(self.config.max_batch_size) + list(port.dims)
            name = plain_name(port.name) if numbered else port.name
            exposed[name] = ExposedTensor(
                model=self,
                name=name,
                shape=tuple(None if n == -1 else n for n in dims),
                dtype=from_config(port.data_type),
                config_name=port.name,
            )
        return exposed

    # checks

    def check(self) -> None:
        """Check the configuration and that what it needs is there.

        Raises:
            RepositoryError: It is wrong, or a version's file is missing.
        """
        try:
            check_config(self.config)
        except RepositoryError as error:
            raise RepositoryError(f"{self.config_path}: {error}") from None
        self.resolve()
        for version in self.served_versions:
            folder = self.repository.store.files(self.name, str(version))
            if self.platform is not Platform.ENSEMBLE and self.file_name not in folder:
                path = self.repository.store.url(self.name, str(version), self.file_name)
                raise RepositoryError(f"{path} is missing: version {version} cannot be served")

    def current_config(self) -> ModelConfig:
        """The configuration with the edits that others made to the file since it was read.

        Raises:
            RepositoryError: The file is wrong, or both it and the model here were changed.
        """
        try:
            text = self.repository.store.read(self.name, FILE)
        except FileNotFoundError:
            return self.config
        found = parse_config(text, self.config_path)
        if found not in (self._written, self.config):
            if self.config != self._written:
                raise RepositoryError(
                    f"{self.config_path}: the file was changed by someone since it was read, and "
                    "so was the model here: call refresh() and repeat the change"
                )
            self.config.CopyFrom(found)
            self.remember()
        return self.config

    def changed_text(self, config: ModelConfig) -> str | None:
        """Text of the file for a configuration; None where the file says the same already.

        Raises:
            RepositoryError: The configuration is wrong.
        """
        try:
            check_config(config)
        except RepositoryError as error:
            raise RepositoryError(f"{self.config_path}: {error}") from None
        try:
            text = self.repository.store.read(self.name, FILE)
        except FileNotFoundError:
            return format_config(config)
        same = parse_config(text, self.config_path) == config
        return None if same else format_config(config)

    def write_config(self) -> None:
        """Put the configuration into its file, if it says something else than the file.

        Raises:
            RepositoryError: The configuration is wrong, or both it and the file were changed.
        """
        text = self.changed_text(self.current_config())
        if text is not None:
            self.repository.store.write(text, self.name, FILE)
        self.remember()

    @contextmanager
    def _editing(self) -> Iterator[ModelConfig]:
        """The configuration to change; written at the end if the model is published.

        What fails leaves it as it was.
        """
        config = self.current_config()
        before = ModelConfig()
        before.CopyFrom(config)
        try:
            yield config
            if self.published:
                self.write_config()
        except BaseException:
            config.CopyFrom(before)
            raise

    # export

    def export_version(
        self,
        module: Any = None,
        version: int | None = None,
        input_shapes: Mapping[str, Sequence[int | None]] | None = None,
        output_names: Sequence[str] | None = None,
        *,
        states: Mapping[str, str] | None = None,
        input_dtypes: Mapping[str, object] | None = None,
        output_shapes: Mapping[str, Sequence[int | None]] | None = None,
        output_dtypes: Mapping[str, object] | None = None,
        examples: Mapping[str, np.ndarray] | None = None,
        max_batch: int = MAX_BATCH,
        tolerance: float | None = None,
        memory: int | None = None,
        warm_up: int | None = None,
    ) -> int:
        """Export a network as a version.

        It is made in a temporary folder, run and compared with the network on random inputs of
        several sizes, and put in place in one step. What fails leaves the repository as it was.
        The first export says names and shapes; others take them from the configuration.

        Args:
            module: What the platform needs: a `torch.nn.Module` or `ScriptModule` for ONNX,
                TORCHSCRIPT and TENSORRT, the path or text of a `model.py` for PYTHON, None for
                ENSEMBLE.
            version: Number of the version; one more than the largest there by default.
            input_shapes: Whole shapes by name, in the order of the module's arguments. None is
                an axis of any length; where all inputs and outputs begin with one, it is the
                batch axis of the configuration.
            output_names: Names in the order of the module's results.
            states: Which outputs are the next values of which inputs: `{input: output}`. A
                sequence begins with zeros.
            input_dtypes: Types by name; by default those of `examples`, else that of the
                module's parameters, or float32 if it has none.
            output_shapes: For PYTHON only: shapes by name.
            output_dtypes: For PYTHON only: types by name; float32 by default.
            examples: Arrays to run on by name of the input, where random numbers will not do.
            max_batch: Largest batch that a server makes; 0 for a configuration without batches.
            tolerance: Largest difference from the module, relative to the spread of the output;
                2e-2, 1e-4 and 1e-9 for half, single and double by default.
            memory: Updates after which the states have forgotten what came before.
            warm_up: First answers of a sequence that look at its first states.

        Returns:
            The version's number.

        Raises:
            RepositoryError: What was given does not fit, cannot be exported, or gives other
                numbers than the module.
        """
        from hermes.quiver.publishing import export

        declaration = Declaration(
            input_shapes=input_shapes,
            output_names=output_names,
            states=states,
            input_dtypes=input_dtypes or {},
            output_shapes=output_shapes,
            output_dtypes=output_dtypes or {},
            examples=examples or {},
            max_batch=max_batch,
            tolerance=tolerance,
            memory=memory,
            warm_up=warm_up,
        )
        return export(self, module, version, declaration)

    # versions

    def pin(self, version: int) -> None:
        """Keep a version from removal by anything here, and have it served.

        One above the promoted version is kept, but not served: it would become what -1 means.

        Raises:
            RepositoryError: It is not there.
        """
        self._require_version(version)
        with self._editing() as config:
            versions.pin(config, self.versions, version)

    def unpin(self, version: int) -> None:
        """Let a version be removed again; it is served as before."""
        with self._editing() as config:
            versions.unpin(config, version)

    def promote(self, version: int = -1) -> None:
        """Make a version what -1 means from now on, whatever is exported later.

        Args:
            version: The version; -1 for the newest one, now and after each export.

        Raises:
            RepositoryError: It is not there.
        """
        if version != -1 or not self.versions:
            self._require_version(version)
        with self._editing() as config:
            versions.promote(config, self.versions, version)

    def retire(self, version: int, keep_files: bool = False) -> None:
        """Serve a version no more, and remove it.

        Args:
            version: The version.
            keep_files: Leave its files, so that it can be promoted again.

        Raises:
            RepositoryError: It is not there, pinned, used by an ensemble, or nothing else is
                served.
        """
        self._require_version(version)
        users = self.repository.users(self.name, version)
        if users:
            raise RepositoryError(
                f"{self.name} version {version} is used by {', '.join(users)}: change that first"
            )
        there = self.versions
        try:
            with self._editing() as config:
                versions.withdraw(config, there, version, keep_files)
        except RepositoryError as error:
            raise RepositoryError(f"{self.name}: {error}") from None
        if not keep_files:
            self.repository.store.remove(self.name, str(version))

    def keep_latest(self, count: int) -> list[int]:
        """Remove old versions.

        Args:
            count: How many of the newest stay, 1 or more; beside them stay those that are
                pinned, promoted or used by number in an ensemble.

        Returns:
            The versions that were removed.
        """
        if count < 1:
            raise RepositoryError(f"{self.name}: cannot keep {count} versions, 1 or more stay")
        there = self.versions
        keep = {*there[-count:], *self.pinned_versions, *self.served_versions[-1:]}
        removed = [v for v in there if v not in keep and not self.repository.users(self.name, v)]
        for version in removed:
            self.retire(version)
        return removed

    def _require_version(self, version: int) -> None:
        if version not in self.versions:
            raise RepositoryError(
                f"{self.repository.store.url(self.name)} has no version {version}, it has "
                + (", ".join(map(str, self.versions)) or "none")
            )

    # how it is run

    def add_instance_group(
        self, kind: str = "auto", count: int = 1, gpus: Sequence[int] = (), name: str = ""
    ) -> None:
        """Have copies of the model run at once.

        Args:
            kind: `auto` (GPUs where there are), `gpu` or `cpu`.
            count: How many, on each of the GPUs.
            gpus: Numbers of the GPUs; all by default.
            name: Name of the group.

        Raises:
            RepositoryError: There is no such kind, or the group cannot be.
        """
        if kind not in _KINDS:
            raise RepositoryError(f"{self.name}: kind is {kind}, expected {', '.join(_KINDS)}")
        with self._editing() as config:
            config.instance_group.add(kind=_KINDS[kind], count=count, gpus=gpus, name=name)
            self._require_valid(config)

    def scale_instance_group(self, count: int, name: str = "") -> None:
        """Change how many copies run at once.

        Args:
            count: How many.
            name: The group; the only one by default, and made if there is none.

        Raises:
            RepositoryError: There is no such group, or there are several.
        """
        groups = [g for g in self.config.instance_group if not name or g.name == name]
        if not groups and not name:
            return self.add_instance_group(count=count)
        if len(groups) != 1:
            names = ", ".join(g.name or "without name" for g in self.config.instance_group)
            raise RepositoryError(f"{self.name}: say which instance group is meant: {names}")
        with self._editing() as config:
            (group,) = (g for g in config.instance_group if not name or g.name == name)
            group.count = count
            self._require_valid(config)

    def use_sequences(
        self, strategy: str = "direct", idle_time: float = IDLE_TIME, candidates: int = 1
    ) -> None:
        """Say how sequences are held; for models with states, or that keep their own.

        Args:
            strategy: `direct` gives each instance one sequence, `oldest` lets an instance hold
                several.
            idle_time: Time without a request after which a sequence is lost [s].
            candidates: Number of sequences held at once by `oldest`.

        Raises:
            RepositoryError: There is no such strategy, or a number is not above 0.
        """
        if strategy not in ("direct", "oldest"):
            raise RepositoryError(f"{self.name}: strategy is {strategy}, expected direct, oldest")
        if not idle_time > 0:
            raise RepositoryError(f"{self.name}: idle_time is {idle_time}, expected above 0 s")
        with self._editing() as config:
            set_sequences(config, strategy, idle_time, candidates)
            self._require_valid(config)

    def use_dynamic_batching(self, delay: float = 0.0, preferred: Sequence[int] = ()) -> None:
        """Let a server join requests to batches.

        Args:
            delay: Time that a request may wait for others [s].
            preferred: Sizes that are run at once.

        Raises:
            RepositoryError: The model has sequences, or no batch axis.
        """
        if self.stateful:
            raise RepositoryError(f"{self.name} has sequences: those cannot be joined to batches")
        if self.published and not self.config.max_batch_size:
            raise RepositoryError(f"{self.name} has no batch axis: max_batch_size is 0")
        with self._editing() as config:
            config.dynamic_batching.SetInParent()
            config.dynamic_batching.max_queue_delay_microseconds = round(delay * 1e6)
            config.dynamic_batching.preferred_batch_size[:] = preferred

    def _require_valid(self, config: ModelConfig) -> None:
        # before the first export there are no inputs yet
        if self.published:
            return
        try:
            check_running(config)
        except RepositoryError as error:
            raise RepositoryError(f"{self.name}: {error}") from None


_KINDS = {
    "auto": ModelInstanceGroup.KIND_AUTO,
    "gpu": ModelInstanceGroup.KIND_GPU,
    "cpu": ModelInstanceGroup.KIND_CPU,
}
