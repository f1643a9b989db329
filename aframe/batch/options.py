"""Options of all tasks that say where branches run; they change no result."""

import functools
from typing import ClassVar

import law
import luigi

from aframe.batch.resources import setting


class BatchTask(law.Task):
    """What a task, and all that it requires, may be told about the batch system."""

    exclude_index = True

    workflow = luigi.ChoiceParameter(
        choices=["local", "slurm", "htcondor"],
        default=law.config.get_expanded("aframe", "workflow", "local"),
        significant=False,
        description="where the branches of tasks run (no unit): on this machine, or as jobs of "
        "Slurm or HTCondor; default: local",
    )
    retries = luigi.IntParameter(
        default=int(setting("retries", "2")),
        significant=False,
        description="attempts of a job after its first (number); default: 2",
    )
    poll_interval = law.DurationParameter(
        default=setting("poll_interval", "1m"),
        unit="m",
        significant=False,
        description="time between two looks at the jobs (minutes, or a number with its unit as "
        "30s); default: 1",
    )
    parallel_jobs = luigi.IntParameter(
        default=int(setting("parallel_jobs", "0")),
        significant=False,
        description="jobs of a task that are submitted at a time (number); 0 for all; default: 0",
    )

    exclude_params_repr: ClassVar[set[str]] = {
        "workflow",
        "retries",
        "poll_interval",
        "parallel_jobs",
    }
    # `--Fetch-workflow local`, given to a pipeline, is for that task and what it requires.
    prefer_params_cli: ClassVar[set[str]] = exclude_params_repr

    @classmethod
    @functools.cache
    def get_params(cls) -> list[tuple[str, luigi.Parameter]]:
        """Parameters, looked for once: luigi asks several times for each of many branches."""
        found: list[tuple[str, luigi.Parameter]] = super().get_params()
        return found
