"""What a job asks its batch system for: the sections `[batch...]` of the law configuration."""

import math
import re
from dataclasses import dataclass
from typing import Self

import law
from law.util import parse_duration

SECTION = "batch"
# Options of `[batch]` that are no resource of a job.
GENERAL = ("retries", "poll_interval", "parallel_jobs", "file_delay", "variables")
MEMORY_UNITS = {"M": 1.0, "G": 1024.0, "T": 1024.0**2}


def setting(option: str, default: str) -> str:
    """An option of `[batch]`, for all tasks."""
    return str(law.config.get_expanded(SECTION, option, default) or default)


@dataclass(frozen=True)
class Resources:
    """Resources and place of one job.

    Attributes:
        cpus: Cores, and threads of the numerical libraries.
        gpus: GPUs.
        memory: Memory [MiB].
        disk: Local disk [MiB]; 0 leaves it to the batch system, as Slurm always does.
        time: Longest run time [s].
        partition: Partition of Slurm; empty for the site's default.
        account: Account of Slurm; empty for the user's default.
        accounting_group: Accounting group of HTCondor.
        accounting_group_user: Who of the group asks, for HTCondor.
        lines: Further lines of the job file, as `--constraint=a100` for Slurm, or
            `requirements = ...` for HTCondor.
    """

    cpus: int = 1
    gpus: int = 0
    memory: int = 4096
    disk: int = 0
    time: float = 7200.0
    partition: str = ""
    account: str = ""
    accounting_group: str = ""
    accounting_group_user: str = ""
    lines: tuple[str, ...] = ()

    @classmethod
    def read(cls, *names: str) -> Self:
        """Read what is configured.

        Args:
            names: Parts of section names behind `batch_`, the most special first.

        Raises:
            ValueError: An option is unknown, or its value is not understood.
        """
        found: dict[str, object] = {}
        for section in (SECTION, *(f"{SECTION}_{name}" for name in reversed(names))):
            if not law.config.has_section(section):
                continue
            for option in law.config.options(section):
                text = law.config.get_expanded(section, option)
                if option in GENERAL or text is None:
                    continue
                found[option] = _parse(section, option, str(text).strip())
        return cls(**found)  # type: ignore[arg-type]

    def for_slurm(self) -> list[tuple[str, ...] | str]:
        """Options of sbatch, as law writes them: `(name, value)`, and whole lines."""
        lines: list[tuple[str, ...] | str] = [
            ("cpus-per-task", str(self.cpus)),
            ("mem", f"{self.memory}M"),
            ("time", str(math.ceil(self.time / 60))),
        ]
        if self.gpus:
            lines.append(("gres", f"gpu:{self.gpus}"))
        for name in ("partition", "account"):
            if getattr(self, name):
                lines.append((name, getattr(self, name)))
        return [*lines, *(f"#SBATCH {line}" for line in self.lines)]

    def for_htcondor(self) -> list[tuple[str, ...] | str]:
        """Commands of a submit file, as law writes them: `(name, value)`, and whole lines."""
        lines: list[tuple[str, ...] | str] = [
            ("request_cpus", str(self.cpus)),
            ("request_memory", str(self.memory)),
            ("allowed_execute_duration", str(math.ceil(self.time))),
        ]
        if self.disk:
            lines.append(("request_disk", str(self.disk * 1024)))
        if self.gpus:
            lines.append(("request_gpus", str(self.gpus)))
        for name in ("accounting_group", "accounting_group_user"):
            if getattr(self, name):
                lines.append((name, getattr(self, name)))
        return [*lines, *self.lines]


def _parse(section: str, option: str, text: str) -> object:
    where = f"[{section}] {option}: {text}"
    if option in ("cpus", "gpus"):
        if not re.fullmatch(r"\d+", text) or (option == "cpus" and int(text) < 1):
            raise ValueError(f"{where}: expected a whole number; mend it in the law configuration")
        return int(text)
    if option in ("memory", "disk"):
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([MGT])i?B?", text)
        if not match:
            raise ValueError(
                f"{where}: expected a number with its unit, as 800M or 4G; mend it in the law "
                "configuration"
            )
        return math.ceil(float(match[1]) * MEMORY_UNITS[match[2]])
    if option == "time":
        try:
            return float(parse_duration(text, unit="s", input_unit="s"))
        except ValueError:
            raise ValueError(
                f"{where}: expected a duration with its unit, as 90m, 2h or 1d; mend it in the "
                "law configuration"
            ) from None
    if option == "lines":
        return tuple(line.strip() for line in text.splitlines() if line.strip())
    if option in Resources.__dataclass_fields__:
        return text
    known = ", ".join(sorted({*Resources.__dataclass_fields__, *GENERAL}))
    raise ValueError(f"[{section}] {option}: there is no such option; known are {known}")
