"""Evaluation of a long background and many injections: wall time and peak memory.

The products are those of a search that did not happen (`projects/evaluate/tests/fake_search.py`).
Counting the background events above each event, and the thresholds at the rates of a report, are
timed by themselves as well, against the plain forms: a comparison of each event with all of the
background, and a sort for each rate.

Run with the environment of `projects/evaluate`; see README.md.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from evaluate.rates import YEAR, false_alarm_rate, thresholds_at_far

TESTS = Path(__file__).parents[1] / "projects" / "evaluate" / "tests"
EXPERIMENT = "quickstart"
POPULATIONS = ["spin_bbh"]
PRIOR = "spin_bbh"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=5_000_000, help="background events")
    parser.add_argument("--injections", type=int, default=100_000, help="accepted injections")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report(Path(folder), arguments.events, arguments.injections)
    rates(arguments.events)


def report(folder: Path, num_events: int, num_injections: int) -> None:
    """The whole of `evaluate report`."""
    sys.path.insert(0, str(TESTS))
    from fake_search import EVENT_RATE, FakeSearch

    def make(name: str, events: int, draws: int) -> FakeSearch:
        return FakeSearch(
            folder / name,
            experiment=EXPERIMENT,
            evaluation={"populations": POPULATIONS},
            background_livetime=events / EVENT_RATE,
            num_injections=draws,
            prior=PRIOR,
        )

    from ledger import RecoveredInjections

    trial = make("trial", 10_000, 20_000)
    accepted = len(RecoveredInjections.read(trial.results[0] / "foreground.hdf5").snr)
    num_draws = num_injections * 20_000 // accepted
    search = make("search", num_events, num_draws)
    size = sum(path.stat().st_size for path in search.results[0].glob("*.hdf5"))
    print(
        f"{num_events:,} background events, {num_injections:,} accepted of {num_draws:,} drawn "
        f"injections, {size / 1e6:.0f} MB"
    )
    begun = time.monotonic()
    command = [sys.executable, "-P", "-m", "evaluate", *search.options(folder / "report")]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    wall = time.monotonic() - begun
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        f"evaluate report: {wall:.1f} s ({used.ru_utime + used.ru_stime:.1f} s of a core), "
        f"{used.ru_maxrss / 2**20:.2f} GiB at most"
    )


def rates(num_events: int, num_candidates: int = 200, num_rates: int = 44) -> None:
    """False-alarm rates and thresholds alone."""
    generator = np.random.default_rng(1)
    background = generator.exponential(size=num_events)
    candidates = generator.exponential(size=num_candidates)
    livetime = 100 * YEAR
    far = np.geomspace(0.1, 1000, num_rates)

    begun = time.monotonic()
    counts = false_alarm_rate(candidates, background, livetime).count
    ours = time.monotonic() - begun
    begun = time.monotonic()
    plain = [np.count_nonzero(background >= one) for one in candidates]
    each = time.monotonic() - begun
    assert (counts == plain).all()
    print(f"rates of {num_candidates} events: {ours:.2f} s; each against all: {each:.2f} s")

    begun = time.monotonic()
    thresholds = thresholds_at_far(far.tolist(), background, livetime)
    ours = time.monotonic() - begun
    begun = time.monotonic()
    plain_thresholds = [np.sort(background)[-int(one * 100)] for one in far]
    each = time.monotonic() - begun
    assert thresholds == plain_thresholds
    print(f"{num_rates} thresholds: {ours:.2f} s; a sort for each: {each:.2f} s")


if __name__ == "__main__":
    main()
