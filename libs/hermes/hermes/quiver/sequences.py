"""How a server holds sequences."""

from __future__ import annotations

from tritonclient.grpc.model_config_pb2 import ModelConfig

# After a minute without a word a client is taken for gone.
IDLE_TIME = 60.0


def set_sequences(config: ModelConfig, strategy: str, idle_time: float, candidates: int) -> None:
    """Set strategy (`direct` or `oldest`), idle time [s] and, for `oldest`, candidates."""
    sequences = config.sequence_batching
    sequences.max_sequence_idle_microseconds = round(idle_time * 1e6)
    if strategy == "direct":
        sequences.direct.SetInParent()
    else:
        sequences.oldest.max_candidate_sequences = candidates


def set_sequence_defaults(config: ModelConfig) -> None:
    """Say what nothing was said about: a server's own idle time is a second."""
    sequences = config.sequence_batching
    if sequences.WhichOneof("strategy_choice") is None:
        sequences.direct.SetInParent()
    if not sequences.max_sequence_idle_microseconds:
        sequences.max_sequence_idle_microseconds = round(IDLE_TIME * 1e6)
