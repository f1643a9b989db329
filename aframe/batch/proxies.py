"""How law runs a workflow's branches as jobs, and what is ours in it.

Law submits, polls and resubmits. Ours are the script that a job runs, the resources it asks for,
the sentence of a branch that failed, and that a run goes on where a killed one has stopped.
"""

import functools
import json
import logging
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import law
from ledger import staged

from aframe import environment
from aframe.batch.resources import Resources, setting
from aframe.batch.script import variables, write_script
from aframe.sandbox import StageError, reserved

law.contrib.load("slurm", "htcondor")

log = logging.getLogger("aframe")

LAW = Path(sys.executable).with_name("law")
# Failed jobs that are spoken of at a time.
NUM_SHOWN = 5


class SlurmManager(law.slurm.SlurmJobManager):
    """Law's, with the word of Slurm on a job that failed, and for sites without accounting."""

    def query(self, *args: Any, **kwargs: Any) -> Any:
        """State of jobs."""
        if not _has_accounting():
            # Law asks sacct for jobs that squeue has forgotten. No answer at all is right here:
            # law then looks whether the branches are complete, and resubmits them if not.
            law.config.set("job", "slurm_cmd_sacct", "true")
        return super().query(*args, **kwargs)

    @classmethod
    def parse_squeue_output(cls, out: str) -> dict[int, dict[str, Any]]:
        """States by job, with an error where one failed."""
        found = super().parse_squeue_output(out)
        for line in out.splitlines():
            match = cls.squeue_cre.match(line.strip())
            if match and found[int(match[1])]["status"] == cls.FAILED:
                found[int(match[1])]["error"] = f"Slurm says {match[2]}"
        return found


@functools.cache
def _has_accounting() -> bool:
    """Whether Slurm keeps a record of jobs that have ended."""
    done = subprocess.run(
        ["scontrol", "show", "config"], capture_output=True, text=True, check=False
    )
    return not any(
        line.startswith("AccountingStorageType") and "none" in line
        for line in done.stdout.splitlines()
    )


class HTCondorManager(law.htcondor.HTCondorJobManager):
    """Law's, with a submit file of one section for each job, 25 jobs a file."""

    job_grouping_submit = False
    merge_job_files = True
    chunk_size_submit = 25


class JobsProxy:
    """What is ours in both engines: a mixin before law's proxy."""

    task: Any
    job_data: Any
    job_manager: Any
    workflow_type: ClassVar[str]
    command_option: ClassVar[str]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # how often each job has failed, and the last words on those that were refused
        self.failures: Counter[int] = Counter()
        self.refused: dict[int, str] = {}

    @property
    def folder(self) -> Path:
        """Folder of what the jobs are made of."""
        return Path(self.task.jobs_folder())

    @property
    def resources(self) -> Resources:
        """What each job asks for."""
        return Resources.read(type(self.task.job_task()).__name__, self.task.project)

    def run(self) -> Any:
        """Submit, watch, resubmit; on failure say what the stage said."""
        if self.task.is_controlling_remote_jobs():
            result = super().run()  # type: ignore[misc]
            shutil.rmtree(self.folder, ignore_errors=True)
            return result
        # Before anything waits in a queue: what is configured, and where the stage runs.
        program = shlex.split(law.config.get_expanded("job", self.command_option))[0]
        if not shutil.which(program):
            raise StageError(
                f"--workflow {self.workflow_type}: no {program} here: run on a machine that "
                "submits jobs, or with --workflow local"
            )
        asked = self.resources
        exports = variables(setting("variables", "").split(), asked.cpus)
        if not self.task.sandbox.contained:
            environment.ensure(environment.REPOSITORY / "projects" / self.task.project)
        self.folder.mkdir(parents=True, exist_ok=True)
        with reserved(self.folder, self.task.stage):
            if self.task.complete():
                return None
            self.folder.mkdir(parents=True, exist_ok=True)
            branched = hasattr(self.task.job_task(), "branch")
            script = self.folder / "job.sh"
            write_script(script, self._command(), exports, branched, gpus=asked.gpus > 0)
            self._forget_ended()
            result = super().run()  # type: ignore[misc]
            if self.task.complete():
                # Of no use to a later run, and it may hold keys.
                shutil.rmtree(self.folder)
        return result

    def poll(self) -> None:
        """Watch the jobs.

        Raises:
            StageError: Branches failed after all retries.
        """
        try:
            super().poll()  # type: ignore[misc]
        except Exception as error:
            ended = (self.job_manager.FAILED, self.job_manager.RETRY)
            failed = [n for n, job in self.job_data.jobs.items() if job["status"] in ended]
            if not failed:
                raise
            more = f"\n  and {len(failed) - 1} more jobs failed" if len(failed) > 1 else ""
            raise StageError(self._sentence(failed[0]) + more) from error

    def _submit_batch(self, submit_jobs: dict[int, Any], **options: Any) -> Any:
        """Submit; law's, but nothing is tried again of which all is refused."""
        ids, files = super()._submit_batch(submit_jobs, **options)  # type: ignore[misc]
        for number, found in zip(submit_jobs, ids, strict=True):
            if isinstance(found, Exception):
                self.refused[number] = str(found).strip().splitlines()[-1]
        if all(isinstance(found, Exception) for found in ids):
            words = self.refused[next(iter(submit_jobs))]
            raise StageError(f"{self.task.stage}: {self.workflow_type} takes no job: {words}")
        return ids, files

    def dump_job_data(self) -> None:
        """Write which jobs there are, whole or not at all."""
        self.job_data["dashboard_config"] = self.dashboard.get_persistent_config()  # type: ignore[attr-defined]
        with self._dump_lock, staged(self._record) as partial:  # type: ignore[attr-defined]
            # in place of its id, law keeps the error of a job that was refused
            partial.write_text(json.dumps(self.job_data, indent=1, default=lambda _: None))

    def create_job_file(self, job_num: int, branches: Sequence[int]) -> dict[str, Any]:
        """Write the job file; law's, with the log where the stage's records are."""
        for branch in branches:
            self.task.as_branch(branch).error_file.unlink(missing_ok=True)
        made: dict[str, Any] = super().create_job_file(job_num, branches)  # type: ignore[misc]
        return made | {"log": str(self.task.job_log(branches))}

    def configure(self, config: Any, branches: Sequence[int]) -> Any:
        """Set what law's job file runs, and what it asks for."""
        config.executable = None
        config.command = str(self.folder / "job.sh")
        config.arguments = " ".join(map(str, branches))
        config.input_files = {}
        config.postfix_output_files = False
        output = self.task.job_log(branches)
        output.parent.mkdir(parents=True, exist_ok=True)
        config.stdout = config.stderr = config.log = config.custom_log_file = None
        return config

    def _command(self) -> list[str]:
        """The command of a branch, without the branch."""
        task = self.task
        excluded = (
            task.exclude_params_branch
            | task.exclude_params_workflow
            | task.exclude_params_remote_workflow
            | {"workflow", "effective_workflow", "gpus"}
        )
        run = task.job_task()
        arguments = run.cli_args(exclude=excluded)
        arguments |= {"--workflow": "local", "--local-scheduler": "True", "--workers": "1"}
        name = f"{type(run).__module__}.{type(run).__name__}"
        return [str(LAW), "run", name, *(f"{k}={v}" for k, v in arguments.items())]

    @property
    def _record(self) -> Path:
        """File of the jobs that were submitted."""
        return Path(self.get_cached_output()["jobs"].path)  # type: ignore[attr-defined]

    def _forget_ended(self) -> None:
        """Leave in the record of an earlier run only jobs that may still be at work.

        Those that failed are begun anew, with all their retries.
        """
        if not self._record.exists():
            return
        record = json.loads(self._record.read_text())
        manager = self.job_manager
        ended = (manager.FINISHED, manager.FAILED, manager.RETRY)
        for number, job in list(record["jobs"].items()):
            known = job["job_id"] not in (None, self.job_data.dummy_job_id)
            if job["status"] in ended or not known:
                record["unsubmitted_jobs"][number] = job["branches"]
                del record["jobs"][number]
        if record["jobs"]:
            with staged(self._record) as partial:
                partial.write_text(json.dumps(record, indent=1))
        else:
            self._record.unlink()

    def _sentence(self, number: int) -> str:
        """Why a job failed: the words of its stage, or of the batch system."""
        job = self.job_data.jobs[number]
        log_file = Path(self.task.job_log(job["branches"]))
        tasks = [self.task.as_branch(branch) for branch in job["branches"]]
        for task in tasks:
            if task.error_file.exists():
                words = task.error_file.read_text().strip()
                if words.startswith(task.stage):
                    return str(words)
                return f"{task.stage} failed: {words}\n  log: {log_file}"
        if job["job_id"] == self.job_data.dummy_job_id and number in self.refused:
            return (
                f"{tasks[0].stage}: {self.workflow_type} refused the job: {self.refused[number]}"
            )
        lines = log_file.read_text(errors="replace").split("\n") if log_file.exists() else []
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        words = "; ".join(filter(None, (job["error"], last))) or "no word on why"
        return f"{tasks[0].stage} failed: job {job['job_id']}: {words}\n  log: {log_file}"

    def _print_status_errors(self, failed_jobs: dict[int, dict[str, Any]]) -> None:
        """Say why jobs failed, and whether they are tried again."""
        self.failures.update(failed_jobs.keys())
        for shown, number in enumerate(failed_jobs):
            if shown == NUM_SHOWN:
                log.error("and %d more failed jobs", len(failed_jobs) - shown)
                break
            again = self.failures[number] <= self.task.retries
            log.error("%s%s", self._sentence(number), "\n  tried again" if again else "")


class SlurmProxy(JobsProxy, law.slurm.SlurmWorkflow.workflow_proxy_cls):
    """Jobs of Slurm."""

    command_option = "slurm_cmd_sbatch"


class HTCondorProxy(JobsProxy, law.htcondor.HTCondorWorkflow.workflow_proxy_cls):
    """Jobs of HTCondor."""

    command_option = "htcondor_cmd_submit"
