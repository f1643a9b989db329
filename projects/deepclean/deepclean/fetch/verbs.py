"""What `python -m deepclean fetch` does."""

from __future__ import annotations

import logging
from pathlib import Path

from cleaning import load_cleaning_experiment
from cleaning.cleaner import HISTORY, LATENCY

from deepclean.frames import Format
from deepclean.verbs import Span

log = logging.getLogger("deepclean")


def fetch(
    experiment: Path,
    output: Path,
    span: Span = "evaluation",
    frame_length: int = 64,
    format: Format = "gwf",
) -> None:
    """Get strain and witnesses from the observatory; run again, it goes on where it was.

    Args:
        experiment: Cleaning experiment, or its folder.
        output: Folder for `strain/` and `witness/`.
        span: Which of the experiment's spans.
        frame_length: Length of each file, and of what is asked for at once [s].
        format: How the files are written: `gwf`, `hdf5`.
    """
    # slow to import, and no other verb needs them
    from deepclean.fetch.frames import FOLDERS, fetch_frames
    from deepclean.fetch.services import find_service

    settings = load_cleaning_experiment(experiment)
    if settings.fetch is None:
        raise ValueError(
            f"experiment {settings.name} names nothing to fetch: set fetch to the frame types, "
            "such as {strain: H1_HOFT_C00, witness: H1_R}, or give frames of your own"
        )
    problem = settings.load_problem()
    stretch = settings.training if span == "training" else settings.evaluation
    # with what a cleaner looks at on either side
    start, stop = stretch.start - HISTORY, stretch.stop + LATENCY
    # the client tells of every question that it asks
    logging.getLogger("gwdatafind").setLevel(logging.WARNING)
    service = find_service(problem, settings.fetch)
    found = fetch_frames(
        problem, settings.fetch, service, Path(output), start, stop, frame_length, format
    )
    for name in FOLDERS:
        for first, last in found.missing[name]:
            log.warning("%s: nothing of [%d, %d)", name, first, last)
        log.info("%s: %d of %d s", name, stop - start - found.lost(name), stop - start)
