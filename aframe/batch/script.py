"""The shell script that the jobs of a workflow run, its arguments the branches."""

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from aframe.sandbox import FORWARDED, RUNTIMES, SECRETS

# Tells a task that it runs as a job.
IN_JOB = "AFRAME_JOB"
# Who and where the user is.
BASE = ("HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "TZ", "USER")
# Where the pipelines find their things; a job does not start in the same folder on every site.
PATHS = ("AFRAME_CONTAINER_ROOT", "AFRAME_STORE", "LAW_CONFIG_FILE", "LAW_HOME")
# What the batch system tells a job stays as it is; all else comes from the list above.
KEPT = (
    "SLURM_*",
    "_CONDOR_*",
    "CUDA_VISIBLE_DEVICES",
    "GPU_DEVICE_ORDINAL",
    "NVIDIA_*",
    "ROCR_VISIBLE_DEVICES",
    "TMPDIR",
    "KRB5CCNAME",
    "X509_*",
    "BEARER_TOKEN*",
)
RUNTIME_SETTINGS = tuple(f"{runtime.upper()}_" for runtime in RUNTIMES)
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")

TEMPLATE = """\
#!/usr/bin/env bash
# Run the branches given as arguments. For its owner alone, since it may hold keys.
while read -r name; do
    case "$name" in {kept}) ;; *) unset "$name" ;; esac
done < <(compgen -e)
[ -d "${{TMPDIR:-/}}" ] || unset TMPDIR
{exports}
cd {folder} || exit 1
for branch in "$@"; do
    {command} || exit 1
done
"""


def variables(more: Sequence[str], cpus: int) -> dict[str, str]:
    """Environment variables of a job.

    Args:
        more: Names of further ones of the submitting process.
        cpus: Cores of the job, and so threads, unless the submitting process says how many.
    """
    found = dict.fromkeys(THREADS, str(cpus))
    for name in (*BASE, *FORWARDED, *SECRETS, *more):
        if name in os.environ:
            found[name] = os.environ[name]
    # settings of apptainer itself, as where it may write
    found |= {k: v for k, v in os.environ.items() if k.startswith(RUNTIME_SETTINGS)}
    for name in PATHS:
        if value := os.environ.get(name):
            found[name] = value if "://" in value else str(Path(value).absolute())
    return found | {IN_JOB: "1"}


def write_script(
    path: Path, command: Sequence[str], exports: dict[str, str], branched: bool, gpus: bool = False
) -> None:
    """Write the script, readable by its owner alone.

    Args:
        path: Where to; its folder exists.
        command: What to run for each branch, without the branch.
        exports: Environment variables.
        branched: Whether the command takes a branch.
        gpus: Whether the batch system gives the job devices, for the command to use.
    """
    text = TEMPLATE.format(
        kept="|".join(KEPT),
        exports="\n".join(f"export {k}={shlex.quote(v)}" for k, v in sorted(exports.items())),
        folder=shlex.quote(str(Path.cwd())),
        command=shlex.join(command)
        + (' --branch "$branch"' if branched else "")
        + (' --gpus "${CUDA_VISIBLE_DEVICES:-}"' if gpus else ""),
    )
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o700), "w") as file:
        file.write(text)
    # jobs that run go on reading the file they began with
    partial.replace(path)
