"""What pipelines share: they end with a word on what there is now."""

import logging
import time
from typing import Any

from runtime import ExperimentError

from aframe.base import AframeTask

log = logging.getLogger("aframe")


class Pipeline(AframeTask):
    """A named end point: it requires, makes nothing itself, and says where the result is."""

    exclude_index = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.image:
            raise ExperimentError(
                "--image names the image of one task's stage, a pipeline runs several: set "
                "AFRAME_CONTAINER_ROOT to the folder of all images"
            )
        self._begun = time.monotonic()
        self._nothing_to_do: bool | None = None

    def ends(self) -> list[AframeTask]:
        """The tasks that the pipeline is there for."""
        raise NotImplementedError

    def result(self) -> str:
        """What there is when it has run, and where."""
        raise NotImplementedError

    def requires(self) -> Any:
        """The tasks that it is there for."""
        return self.ends()

    def complete(self) -> bool:
        """Never: there is always a word to say at the end."""
        if self._nothing_to_do is None:
            self._nothing_to_do = all(task.complete() for task in self.ends())
        return False

    def output(self) -> list[Any]:
        """Nothing of its own."""
        return []

    def run(self) -> None:
        """Say where the result is."""
        if self._nothing_to_do:
            log.info("nothing to do, all is made. %s", self.result())
        else:
            log.info("done in %.0f s. %s", time.monotonic() - self._begun, self.result())
