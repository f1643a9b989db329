"""From nothing to a report on one machine."""

import logging
import time
from typing import Any

from runtime import ExperimentError

from aframe.base import AframeTask
from aframe.tasks.evaluate import Evaluate

log = logging.getLogger("aframe")


class Sandbox(AframeTask):
    """A complete search: data, training, export, inference, evaluation, report."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.image:
            raise ExperimentError(
                "--image names the image of one task's stage, a pipeline runs several: set "
                "AFRAME_CONTAINER_ROOT to the folder of all images"
            )
        self._begun = time.monotonic()
        self._nothing_to_do: bool | None = None

    def requires(self) -> Any:
        """The report."""
        return Evaluate.req(self)

    def complete(self) -> bool:
        """Never: there is always a word to say at the end."""
        if self._nothing_to_do is None:
            self._nothing_to_do = self.requires().complete()
        return False

    def output(self) -> list[Any]:
        """Nothing of its own."""
        return []

    def run(self) -> None:
        """Say where the report is."""
        report = self.path("report", "index.html")
        if self._nothing_to_do:
            log.info("nothing to do, all is made. Report: %s", report)
        else:
            log.info("done in %.0f s. Report: %s", time.monotonic() - self._begun, report)
