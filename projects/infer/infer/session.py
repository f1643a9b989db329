"""What every step of a search is given: the experiment and a network that runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from preprocessing import WhiteningRecipe
from runtime import Experiment, load_experiment

from infer.repository import Repository
from infer.scorers import Scorer, make_scorer
from infer.searcher import window_frames
from infer.serving import Transport, served


@dataclass(frozen=True)
class Session:
    """An experiment and its network.

    Attributes:
        experiment: The experiment.
        models: The exported models.
        scorer: Scores with them; given the stretches by `prepared.read_prepared`.
    """

    experiment: Experiment
    models: Repository
    scorer: Scorer

    @cached_property
    def recipe(self) -> WhiteningRecipe:
        """The whitening settings."""
        return WhiteningRecipe.from_settings(self.experiment.settings())

    @property
    def window(self) -> int:
        """Frames that one integrated score looks at."""
        return window_frames(self.scorer, self.experiment.search)

    @property
    def shortest(self) -> float:
        """Shortest whitened stretch that gives an integrated score [s]."""
        return self.scorer.view_length + (self.window - 1) / self.scorer.frame_rate


@contextmanager
def opened(
    experiment: Path, repository: Path, transport: Transport, server: str | None
) -> Iterator[Session]:
    """Open the models of a search, for as long as the block lasts.

    Args:
        experiment: Experiment file or its folder.
        repository: Model repository of `export`.
        transport: Where the networks run: in this process, or on a Triton server.
        server: A Triton server that serves the repository, as HOST:PORT; with the transport
            `triton` one is started on this machine if None.

    Raises:
        FileNotFoundError: An input is missing.
        ProductError: The repository was made with other settings or is broken.
        ServerError: The server does not start.
    """
    settings = load_experiment(experiment)
    with (
        served(Path(repository), transport, server) as address,
        Repository(Path(repository), settings, address) as models,
    ):
        yield Session(settings, models, make_scorer(models, settings.search.scores_per_second))
