"""Measures that a training is told to watch, checked before it begins."""

from __future__ import annotations

import lightning as L
from architectures import WindowedNetwork

from train.figures_of_merit import RATES, supported
from train.validation import ValidationSet


def require_measures(
    trainer: L.Trainer, validation: ValidationSet, network: WindowedNetwork
) -> None:
    """See that the validation will give what checkpoints and early stopping go by.

    Args:
        trainer: The trainer, with its callbacks. What does not begin with `valid_` is not the
            validation's and is left alone.
        validation: The validation set.
        network: The network.

    Raises:
        ValueError: It will not; says which measures there will be.
    """
    livetime = validation.livetime(network)
    known = [*supported(livetime, validation.injections), "valid_delay_s"]
    for callback in trainer.callbacks:
        wanted = getattr(callback, "monitor", None) or ""
        if not wanted.startswith("valid_") or wanted in known:
            continue
        raise ValueError(
            f"{wanted} cannot be monitored: the validation, with a livetime of {livetime:.0f} s, "
            f"gives {', '.join(known)}: choose one of these{_remedy(wanted, validation, network)}"
        )


def _remedy(wanted: str, validation: ValidationSet, network: WindowedNetwork) -> str:
    """What else would help; nothing where the measure is not one at a false-alarm rate."""
    rate = RATES.get(wanted.removeprefix("valid_recall_"))
    if rate is None:
        return ""
    needed = 1 / rate
    reached = validation.livetime(network, needed)
    if reached >= needed:
        return f", or raise data.validation_livetime to {needed:.0f} or more"
    return f"; slides of the validation strain reach {reached:.0f} s, {wanted} needs {needed:.0f}"
