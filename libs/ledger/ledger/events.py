"""What a search finds."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ledger.product import Product, column, group, scalar


@dataclass(kw_only=True)
class EventSet(Product):
    """Events of a background (time slides) or of the zero lag, with the livetime behind them."""

    product: ClassVar[str] = "events"
    schema: ClassVar[int] = 2
    kind: str = scalar("", "background or zero-lag")
    ifos: tuple[str, ...] = scalar("", "detectors")
    threshold: float = scalar("", "least statistic of a stored event; -1e30 if all are kept")
    statistic: np.ndarray = column("event", "", "detection statistic, larger is louder")
    time: np.ndarray = column("event,ifo", "s", "GPS time of coalescence in each detector's data")
    slide: np.ndarray = column(
        "event", "", "number of the slide, from 1; 0 is the zero lag", "int32"
    )
    fold: np.ndarray = column("event", "", "fold of the experiment", "int16")
    slide_shift: np.ndarray = column(
        "slide,ifo", "s", "circular shift of each detector's analysed time"
    )
    slide_fold: np.ndarray = column("slide", "", "fold of the slide", "int16")
    slide_livetime: np.ndarray = column("slide", "s", "analysed time of the slide")
    mark: np.ndarray = column(
        "mark",
        "",
        "index of an event of the zero lag that the background would leave out",
        "int32",
    )
    mark_reason: list[str] = column(
        "mark", "", "name of the known event or of the veto that it looks at", "str"
    )
    mark_ifo: np.ndarray = column("mark", "", "detector that this holds for; -1 for all", "int8")
    detail: np.ndarray = column("detail", "", "index of an event shown in detail", "int32")
    detail_rate: float = scalar("Hz", "samples per second of the whitened strain")
    detail_score_rate: float = scalar("Hz", "scores per second of the score series")
    detail_whitened: np.ndarray = column(
        "detail,ifo,sample", "", "whitened strain, centred on the event's time", "float32"
    )
    detail_score: np.ndarray = column(
        "detail,score", "", "integrated score, centred on the event's time", "float32"
    )
    analysed: np.ndarray = column("stretch,bound", "s", "GPS spans analysed, half open")
    analysed_label: list[str] = column("stretch", "", "name of the file of each span", "str")

    @property
    def livetime(self) -> float:
        """Analysed time of all slides together [s]."""
        return float(np.sum(self.slide_livetime))

    def reasons(self) -> dict[int, list[str]]:
        """Why the background would leave an event out, by the indices of the events it would."""
        found: dict[int, list[str]] = {}
        for event, reason, ifo in zip(self.mark, self.mark_reason, self.mark_ifo, strict=True):
            text = reason if ifo < 0 else f"{reason} ({self.ifos[ifo]})"
            found.setdefault(int(event), []).append(text)
        return found


@dataclass(kw_only=True)
class RecoveredInjections(Product):
    """What the search gives for each accepted injection."""

    product: ClassVar[str] = "recovered-injections"
    schema: ClassVar[int] = 2
    ifos: tuple[str, ...] = scalar("", "detectors")
    snr_threshold: float = scalar("", "least network SNR of an accepted injection")
    volume: float = scalar("Gpc^3", "integral of dVc/dz/(1+z) over the population's redshifts")
    statistic: np.ndarray = column("injection", "", "detection statistic at the injection")
    time: np.ndarray = column("injection", "s", "recovered GPS time of coalescence")
    injection_time: np.ndarray = column("injection", "s", "injected GPS time of coalescence")
    snr: np.ndarray = column("injection", "", "optimal network SNR by the local PSD")
    ifo_snr: np.ndarray = column("injection,ifo", "", "optimal SNR in each detector")
    fold: np.ndarray = column("injection", "", "fold of the experiment", "int16")
    parameters: dict[str, np.ndarray] = group("injection", "parameters of the accepted")
    stream: str = scalar("", "purpose of the draws' random numbers, before file and chunk number")
    rejected: dict[str, np.ndarray] = group(
        "rejected", "parameters of the rejected; none if they are to be drawn again"
    )
    rejected_snr: np.ndarray = column(
        "rejected", "", "network SNR of the rejected, as far as it was looked at", "float32", True
    )
    rejected_file: np.ndarray = column(
        "rejected", "", "number of the strain file among those searched", "int32", True
    )
    rejected_draw: np.ndarray = column(
        "rejected", "", "number of the draw within its file", "int64", True
    )
