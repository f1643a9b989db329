"""From a file of the mock data challenge MLGWSC-1 and a trained network to a file of events."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import luigi
from ledger import staged

from aframe.base import AframeTask
from aframe.pipelines.pretrained import PretrainedPipeline
from aframe.tasks.mdc import ChallengeEvents, ToleranceTask


class PathOption(str):
    """Value of an option that is called as a method of every task is.

    The challenge's options are `--input` and `--output`, and law calls `input()` and `output()`
    of a task: a pipeline answers with nothing.
    """

    def __call__(self) -> list[object]:
        """No targets."""
        return []


class PathParameter(luigi.Parameter):
    """An option with such a value."""

    def parse(self, text: str) -> PathOption:
        """The path."""
        return PathOption(text)

    normalize = parse


class MDC(PretrainedPipeline, ToleranceTask):
    """Search a file of the challenge and write its events."""

    prefix = "mdc"

    input = PathParameter(
        description="file of the challenge, or folder of such files that make one data set (path)"
    )
    output = PathParameter(  # type: ignore[assignment]
        description="file of events to write, HDF5 with time, stat and var (path)"
    )

    @property
    def source(self) -> str:
        """What is searched."""
        return str(self.input)

    def ends(self) -> list[AframeTask]:
        """The events."""
        return [ChallengeEvents.req(self, **self.named())]

    def run(self) -> Iterator[list[AframeTask]]:  # type: ignore[override]
        """Search, and put the events where they were asked for."""
        (events,) = self.ends()
        yield [events]
        with staged(Path(self.output).absolute()) as partial:
            shutil.copyfile(events.output().path, partial)
        yield from super().run()

    def result(self) -> str:
        """Where the events are."""
        return f"Events: {Path(self.output).absolute()}"
