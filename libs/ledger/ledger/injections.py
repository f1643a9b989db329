"""Simulated signals placed in detector data."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ledger.files import ProductError
from ledger.product import Product, column, group, scalar


@dataclass(kw_only=True)
class InjectionSet(Product):
    """Signals as the detectors would see them, and those that were drawn but are hopeless.

    The rejected draws are part of the population: a sensitive volume counts them as missed. Failed
    draws, for which the waveform model gave something unphysical, are not: others took their
    places.

    A set without responses keeps parameters alone: `waveforms.injection_responses` makes the
    same responses again, bit for bit, and `priors.NumberedDraws` the parameters of the rejected.
    """

    product: ClassVar[str] = "injections"
    schema: ClassVar[int] = 2
    ifos: tuple[str, ...] = scalar("", "detectors")
    sample_rate: float = scalar("Hz", "samples per second of the responses")
    coalescence: float = scalar("s", "time of coalescence after a response's first sample")
    snr_threshold: float = scalar("", "least network SNR of an accepted injection")
    volume: float = scalar("Gpc^3", "integral of dVc/dz/(1+z); 0 if sources have no redshift")
    stream: str = scalar("", "purpose of the draws' random numbers, before file and chunk number")
    time: np.ndarray = column("injection", "s", "GPS time of coalescence at the geocentre")
    shift: np.ndarray = column(
        "injection,ifo", "s", "how much later than `time` the signal is in each detector's data"
    )
    snr: np.ndarray = column("injection", "", "optimal network SNR by the local PSD")
    ifo_snr: np.ndarray = column("injection,ifo", "", "optimal SNR in each detector")
    file: np.ndarray = column(
        "injection", "", "number of the strain file among those of its role", "int32"
    )
    draw: np.ndarray = column("injection", "", "number of the draw within its file", "int64")
    parameters: dict[str, np.ndarray] = group("injection", "parameters of the accepted")
    response: np.ndarray = column(
        "stored,ifo,time",
        "strain",
        "signal in each detector, of all injections or of none; sample i is at "
        "time - coalescence + i / sample_rate",
        "float32",
    )
    rejected: dict[str, np.ndarray] = group(
        "rejected", "parameters of the rejected; none where no response is kept"
    )
    rejected_snr: np.ndarray = column(
        "rejected", "", "network SNR of the rejected, as far as it was looked at", "float32", True
    )
    rejected_by: np.ndarray = column(
        "rejected", "", "SNR that rejected: 0 upper bound, 1 estimate, 2 optimal", "int8", True
    )
    rejected_file: np.ndarray = column("rejected", "", "as `file`", "int32", True)
    rejected_draw: np.ndarray = column("rejected", "", "as `draw`", "int64", True)
    failed_file: np.ndarray = column("failed", "", "as `file`", "int32")
    failed_draw: np.ndarray = column("failed", "", "as `draw`", "int64")
    failed_reason: list[str] = column("failed", "", "what was wrong with the waveform", "str")

    @property
    def num_drawn(self) -> int:
        """Number of draws from the population, accepted and rejected."""
        return len(self.snr) + len(self.rejected_snr)

    def validate(self) -> None:
        """Check the declarations, and that responses are of all injections or of none."""
        super().validate()
        if len(self.response) not in (0, len(self.time)):
            raise ProductError(
                f"injections: {len(self.response)} responses for {len(self.time)} injections, "
                "expected one for each or none at all"
            )


@dataclass(kw_only=True)
class InjectionDetails(Product):
    """Strain and scores around some of the recovered injections of a fold, to be looked at."""

    product: ClassVar[str] = "injection-details"
    ifos: tuple[str, ...] = scalar("", "detectors")
    fold: int = scalar("", "fold of the experiment")
    sample_rate: float = scalar("Hz", "samples per second of the whitened strain")
    score_rate: float = scalar("Hz", "scores per second of the score series")
    score_start: float = scalar(
        "s", "time of the first score, the end of what it looks at, after the injected time"
    )
    injection: np.ndarray = column(
        "detail", "", "index of the injection among the recovered of the fold", "int32"
    )
    time: np.ndarray = column("detail", "s", "injected GPS time of coalescence")
    whitened: np.ndarray = column(
        "detail,ifo,sample",
        "",
        "whitened strain with the signal, centred on its time in each detector",
        "float32",
    )
    signal: np.ndarray = column(
        "detail,ifo,sample", "", "the whitened signal alone, as `whitened`", "float32"
    )
    score: np.ndarray = column("detail,score", "", "integrated score", "float32")
