"""How far back the answers of a chain of streaming models reach."""

from __future__ import annotations

from dataclasses import dataclass, field

from tritonclient.grpc.model_config_pb2 import ModelConfig

from hermes.quiver.parameters import (
    MEMORY,
    REACH,
    WARM_UP,
    WINDOWS,
    get_count,
    set_text,
)


@dataclass(frozen=True)
class Depth:
    """Reach of a tensor in an ensemble.

    Models that cut a stream into windows, or join windows to a stream, count in windows: two
    models of 1.5 updates each reach back 3 updates, not 4.

    Attributes:
        memory: Updates that models which do not count in windows remember.
        warm_up: First answers of theirs that look at a first state.
        reach: Windows remembered, by windows per update.
        known: Whether all models say how long they remember.
    """

    memory: int = 0
    warm_up: int = 0
    reach: dict[int, int] = field(default_factory=dict)
    known: bool = True

    def join(self, other: Depth) -> Depth:
        """Depth of what depends on two tensors."""
        return Depth(
            max(self.memory, other.memory),
            max(self.warm_up, other.warm_up),
            {
                windows: max(self.reach.get(windows, 0), other.reach.get(windows, 0))
                for windows in {*self.reach, *other.reach}
            },
            self.known and other.known,
        )

    def after(self, config: ModelConfig, stateful: bool) -> Depth:
        """Depth of the outputs of a model whose inputs have this depth."""
        if not stateful:
            return self
        reach, windows = get_count(config, REACH), get_count(config, WINDOWS)
        if reach is not None and windows:
            total = {**self.reach, windows: self.reach.get(windows, 0) + reach}
            return Depth(self.memory, self.warm_up, total, self.known)
        memory = get_count(config, MEMORY)
        warm_up = get_count(config, WARM_UP)
        if memory is None:
            return Depth(known=False)
        added = memory if warm_up is None else warm_up
        return Depth(self.memory + memory, self.warm_up + added, self.reach, self.known)

    def write_to(self, config: ModelConfig) -> None:
        """Set the parameters of a configuration to this depth."""
        updates = sum(-(-reach // windows) for windows, reach in self.reach.items())
        values: dict[str, int | None] = dict.fromkeys((MEMORY, WARM_UP, REACH, WINDOWS))
        if self.known:
            values[MEMORY], values[WARM_UP] = self.memory + updates, self.warm_up + updates
            if len(self.reach) == 1 and not self.memory and not self.warm_up:
                ((values[WINDOWS], values[REACH]),) = self.reach.items()
        for name, value in values.items():
            set_text(config, name, None if value is None else str(value))
