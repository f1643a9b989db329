"""Signals of compact binaries from lalsimulation, one by one in several processes."""

from __future__ import annotations

import difflib
import weakref
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from itertools import islice

import lalsimulation
import numpy as np
import torch
from runtime.experiment import Waveforms

from waveforms import lal_worker
from waveforms.model import Batch, Failure, FramedModel, Sources, failure, num_sources
from waveforms.threads import num_cores

BATCH_SIZE = 16
# Of black holes, of neutron stars, of one each: one of them every approximant can make. Masses in
# the detector frame [Msun], and a frequency from which each takes little time [Hz].
TRIALS = ((36.0, 29.0, 20.0), (1.4, 1.3, 300.0), (7.0, 1.4, 200.0))
PARAMETERS = (
    *("mass_1_detector", "mass_2_detector", "luminosity_distance", "theta_jn", "phase"),
    *("a_1", "a_2", "tilt_1", "tilt_2", "phi_12", "phi_jl"),
)
Answer = tuple[int, np.ndarray] | str


def approximants() -> list[str]:
    """Names of all that lalsimulation implements, in the time or the frequency domain."""
    return [
        lalsimulation.GetStringFromApproximant(number)
        for number in range(lalsimulation.NumApproximants)
        if lalsimulation.SimInspiralImplementedTDApproximants(number)
        or lalsimulation.SimInspiralImplementedFDApproximants(number)
    ]


class LalModel(FramedModel):
    """Polarizations of binaries in the time domain.

    Signals are those of lalsimulation's generator interface with its standard conditioning; its
    zero of time is put at the coalescence sample, to the nearest sample. A signal that would begin
    too close to its merger begins at 1899 Msun / (m1 + m2) Hz instead of the minimum frequency if
    that is lower (masses in the detector frame). One that is longer than the array is cut, and
    tapered in over five cycles of the minimum frequency.

    Spins are given at the reference frequency by bilby's angles; lalsimulation's SEOBNRv4P takes
    them for those at its own start instead, whatever the reference. An approximant without
    precession is given the components along the orbital angular momentum, and `theta_jn` as
    inclination. `lambda_1` and `lambda_2`, where sources have them, are handed on.

    Each signal is made by itself in one of the processes, so none depends on their number. They
    end with this object, or with the process that made it.

    Args:
        settings: The experiment's `waveforms`.
        sample_rate: Sample rate [Hz].
        device: Where to put the signals.
        workers: Number of processes; one per core.

    Raises:
        ValueError: lalsimulation has no such approximant, or cannot make it here, for want of
            data files for example.
    """

    def __init__(
        self,
        settings: Waveforms,
        sample_rate: float,
        device: torch.device,
        workers: int | None = None,
    ) -> None:
        super().__init__(settings, sample_rate, device)
        self.workers = num_cores() if workers is None else workers
        known = approximants()
        if settings.approximant not in known:
            near = difflib.get_close_matches(settings.approximant, known, n=5, cutoff=0.5)
            raise ValueError(
                f"lalsimulation has no approximant {settings.approximant}"
                + (f": did you mean {', '.join(near)}?" if near else "")
            )
        number = lalsimulation.GetApproximantFromString(settings.approximant)
        support = lalsimulation.SimInspiralGetSpinSupportFromApproximant(number)
        self.spinless = support == lalsimulation.SIM_INSPIRAL_SPINLESS
        self.task = lal_worker.Task(
            approximant=number,
            precessing=support
            not in (lalsimulation.SIM_INSPIRAL_SPINLESS, lalsimulation.SIM_INSPIRAL_ALIGNEDSPIN),
            sample_rate=sample_rate,
            minimum_frequency=settings.minimum_frequency,
            reference_frequency=settings.reference_frequency,
            size=self.size,
            coalescence_sample=self.coalescence_sample,
            taper_size=self.taper_size,
        )
        self._answer = lal_worker.answer
        self._pool = self._started()
        self._try()

    def _started(self) -> ProcessPoolExecutor:
        pool = lal_worker.new_pool(self.workers)
        weakref.finalize(self, pool.shutdown, cancel_futures=True)
        return pool

    @property
    def parameters(self) -> tuple[str, ...]:
        """See `FramedModel`."""
        return PARAMETERS if self.task.precessing else PARAMETERS[:-2]

    def _try(self) -> None:
        """Make a signal of no interest, to fail before any work if none can be made."""
        reasons = []
        for mass_1, mass_2, frequency in TRIALS:
            task = replace(self.task, minimum_frequency=frequency, reference_frequency=frequency)
            source = dict.fromkeys(PARAMETERS, 0.0)
            source |= {"mass_1_detector": mass_1, "mass_2_detector": mass_2}
            source |= {"luminosity_distance": 100.0, "theta_jn": 0.4}
            try:
                answer = self._submit(task, source).result()
            except BrokenProcessPool:
                raise ValueError(
                    f"lalsimulation's process ends when asked for {self.settings.approximant}, or "
                    "cannot start: the program's main module must be one that can be imported"
                ) from None
            if not isinstance(answer, str):
                return
            reasons.append(answer)
        # of files that are missing it speaks only where the masses suit it
        reason = next((r for r in reasons if "LAL_DATA_PATH" in r), reasons[0])
        data = "LAL_DATA_PATH" in reason
        raise ValueError(
            f"lalsimulation cannot make {self.settings.approximant} here: {reason}"
            + (" (set it to the folder of lalsimulation's data files)" if data else "")
        )

    def make(self, sources: Sources) -> Iterator[Batch | Failure]:
        """Signals in their order."""
        if self.spinless and (np.any(sources["a_1"]) or np.any(sources["a_2"])):
            raise ValueError(
                f"{self.settings.approximant} has no spins, the sources have some: take another "
                "approximant, or a population without spins"
            )
        names = [*self.parameters, *(name for name in lal_worker.TIDES if name in sources)]
        good: list[tuple[int, int, np.ndarray]] = []
        for index, answer in self._answers(sources, names):
            if isinstance(answer, str):
                yield failure(sources, index, answer)
            else:
                good.append((index, *answer))
            if len(good) == BATCH_SIZE:
                yield self._batch(good)
                good = []
        if good:
            yield self._batch(good)

    def _batch(self, signals: list[tuple[int, int, np.ndarray]]) -> Batch:
        array = np.zeros((2, len(signals), self.size))
        for row, (_, first, signal) in enumerate(signals):
            array[:, row, first : first + signal.shape[1]] = signal
        plus, cross = torch.from_numpy(array).to(self.device)
        return Batch(np.array([index for index, *_ in signals]), plus, cross)

    def _answers(self, sources: Sources, names: list[str]) -> Iterator[tuple[int, Answer]]:
        waiting: deque[tuple[int, dict[str, float], Future[Answer]]] = deque()
        indices = iter(range(num_sources(sources)))
        while True:
            # enough that no process is idle while the first is waited for
            for index in islice(indices, 4 * self.workers - len(waiting)):
                source = {name: float(sources[name][index]) for name in names}
                waiting.append((index, source, self._submit(self.task, source)))
            if not waiting:
                return
            index, source, future = waiting.popleft()
            try:
                answer = future.result()
            except BrokenProcessPool:
                # this source or another one ended its process, and all that wait are lost
                answer = self._answer_alone(source)
                again = [(i, s, self._submit(self.task, s)) for i, s, _ in waiting]
                waiting = deque(again)
            yield index, answer

    def _submit(self, task: lal_worker.Task, source: dict[str, float]) -> Future[Answer]:
        try:
            return self._pool.submit(self._answer, task, source)
        except BrokenProcessPool:
            self._pool = self._started()
            return self._pool.submit(self._answer, task, source)

    def _answer_alone(self, source: dict[str, float]) -> Answer:
        with lal_worker.new_pool(1) as pool:
            try:
                return pool.submit(self._answer, self.task, source).result()
            except BrokenProcessPool:
                return "lalsimulation ended its process"
