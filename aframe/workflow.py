"""Workflows: tasks of many branches, one stage command each, here or as jobs of a batch system."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import law
from law.parameter import TaskInstanceParameter
from law.workflow.local import LocalWorkflowProxy
from ledger import staged
from luigi.worker import TaskProcess

from aframe.base import StageTask
from aframe.batch.proxies import HTCondorManager, HTCondorProxy, SlurmManager, SlurmProxy
from aframe.batch.resources import setting
from aframe.batch.script import IN_JOB


class _BranchesInTurn(LocalWorkflowProxy):
    """Runs the branches that are missing, as many at a time as law has workers.

    law's own proxy notes in a process shared between workers that it has asked for its branches.
    Asking for those that are missing needs no note, and no process for a killed law to leave
    behind.
    """

    def run(self) -> Iterator[Any]:
        """Ask for all branches not complete; run again by luigi when they are."""
        missing = [t for t in self.task.get_branch_tasks().values() if not t.complete()]
        if missing:
            yield missing


class LocalBranches(law.LocalWorkflow):
    """Branches on this machine."""

    workflow_proxy_cls = _BranchesInTurn
    exclude_index = True


class SlurmBranches(law.slurm.SlurmWorkflow):
    """Branches as jobs of Slurm."""

    workflow_proxy_cls = SlurmProxy
    exclude_index = True

    def slurm_output_directory(self) -> law.LocalDirectoryTarget:
        """Folder of the jobs' record."""
        return law.LocalDirectoryTarget(str(self.jobs_folder()))

    def slurm_create_job_file_factory(self, **kwargs: Any) -> Any:
        """What writes job files, into the jobs' folder."""
        more = {"dir": str(self.jobs_folder()), "mkdtemp": False, "cleanup": False}
        return super().slurm_create_job_file_factory(**(kwargs | more))

    def slurm_job_manager_cls(self) -> type:
        """What submits and asks."""
        return SlurmManager

    def slurm_job_config(self, config: Any, job_num: int, branches: Sequence[int]) -> Any:
        """What a job runs, and what it asks for."""
        config = self.workflow_proxy.configure(config, branches)
        config.stdout = str(self.job_log(branches))
        config.custom_content += self.workflow_proxy.resources.for_slurm()
        return config

    def slurm_dump_intermediate_job_data(self) -> int:
        """Record each job as soon as it is submitted."""
        return 1

    def slurm_check_job_completeness(self) -> bool:
        """A job has ended well when its branches are complete."""
        return True

    def slurm_check_job_completeness_delay(self) -> float:
        """How long files take to be seen here [s]."""
        return law.util.parse_duration(setting("file_delay", "0s"), unit="s")


class HTCondorBranches(law.htcondor.HTCondorWorkflow):
    """Branches as jobs of HTCondor."""

    workflow_proxy_cls = HTCondorProxy
    exclude_index = True

    def htcondor_output_directory(self) -> law.LocalDirectoryTarget:
        """Folder of the jobs' record."""
        return law.LocalDirectoryTarget(str(self.jobs_folder()))

    def htcondor_create_job_file_factory(self, **kwargs: Any) -> Any:
        """What writes submit files, into the jobs' folder."""
        more = {"dir": str(self.jobs_folder()), "mkdtemp": False, "cleanup": False}
        return super().htcondor_create_job_file_factory(**(kwargs | more))

    def htcondor_job_manager_cls(self) -> type:
        """What submits and asks."""
        return HTCondorManager

    def htcondor_job_config(self, config: Any, job_num: int, branches: Sequence[int]) -> Any:
        """What a job runs, and what it asks for."""
        config = self.workflow_proxy.configure(config, branches)
        output = str(self.job_log(branches))
        config.custom_content += [
            ("output", output),
            ("error", output),
            ("stream_output", "True"),
            ("stream_error", "True"),
            ("should_transfer_files", "YES"),
            ("when_to_transfer_output", "ON_EXIT"),
            ("transfer_executable", "False"),
            ("transfer_output_files", '""'),
            # time enough to read why, then out of the queue
            ("periodic_remove", "JobStatus == 5 && time() - EnteredCurrentStatus > 600"),
            *self.workflow_proxy.resources.for_htcondor(),
        ]
        return config

    def htcondor_dump_intermediate_job_data(self) -> int:
        """Record each job as soon as it is submitted."""
        return 1

    def htcondor_check_job_completeness(self) -> bool:
        """A job has ended well when its branches are complete."""
        return True

    def htcondor_check_job_completeness_delay(self) -> float:
        """How long files take to be seen here [s]."""
        return law.util.parse_duration(setting("file_delay", "0s"), unit="s")


class ReportingStage(StageTask):
    """A stage that, as a job, leaves its error to the process that has submitted it."""

    exclude_index = True

    @property
    def error_file(self) -> Path:
        """Why the stage failed in its job."""
        return self.path("stages", self.stage, "error.txt")

    def on_failure(self, exception: BaseException) -> Any:
        """Write the error down, if this is a job."""
        if IN_JOB in os.environ:
            with staged(self.error_file) as partial:
                partial.write_text(f"{exception}\n")
        return super().on_failure(exception)


class StageWorkflow(ReportingStage, LocalBranches, SlurmBranches, HTCondorBranches):
    """Base of stages with branches: `--workflow` says where they run."""

    exclude_index = True

    def jobs_folder(self) -> Path:
        """Folder of the files that jobs are made of."""
        return self.path("jobs", self.as_workflow().stage)

    def job_log(self, branches: Sequence[int]) -> Path:
        """What a job prints, beside the records of the first of its branches."""
        return self.path("stages", self.as_branch(branches[0]).stage, "job.txt")

    def job_task(self) -> StageTask:
        """What a job runs, for one of its branches."""
        branch: StageTask = self.as_branch(next(iter(self.get_branch_map())))
        return branch

    def modify_polling_status_line(self, status_line: str) -> str:
        """Say whose jobs are counted."""
        return f"{self.stage}: {status_line}"


class SoleJob(StageWorkflow):
    """The workflow of a stage that has no branches: one job."""

    exclude_index = True

    inner = TaskInstanceParameter(description="the stage (no unit)")

    def load(self) -> Any:
        """What the stage has read, of whatever kind its experiment is."""
        return self.inner.analysis

    @property
    def project(self) -> str:  # type: ignore[override]
        """Project of the stage."""
        return str(self.inner.project)

    @property
    def stage(self) -> str:
        """Name of the stage's records."""
        return str(self.inner.stage)

    def path(self, *parts: str) -> Path:
        """Path in the folder that the stage writes to."""
        path: Path = self.inner.path(*parts)
        return path

    def create_branch_map(self) -> dict[int, str]:
        """One job."""
        return {0: self.stage}

    def output(self) -> Any:
        """What the stage makes."""
        return self.inner.output()

    def job_task(self) -> StageTask:
        """The stage."""
        stage: StageTask = self.inner
        return stage


class JobStage(ReportingStage):
    """Base of stages without branches that are too much for the machine one logs in to."""

    exclude_index = True

    def run(self) -> None:
        """Run the stage here, or as one job."""
        if self.workflow == "local":
            super().run()
        elif not self.complete():
            job = SoleJob.req(self, inner=self)
            # what luigi gives a task that it runs, to tell its scheduler of progress
            for name in TaskProcess.forward_reporter_attributes.values():
                setattr(job, name, getattr(self, name, None))
            job.workflow_proxy.run()
