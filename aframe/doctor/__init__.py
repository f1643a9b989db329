"""Look at this machine: what is there, and what each missing thing would enable."""

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterable

from aframe.doctor import access, machine, sites
from aframe.doctor.finding import Finding


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `aframe doctor`."""
    parser.add_argument("--json", action="store_true", help="write JSON to standard output")
    parser.add_argument(
        "--network", action="store_true", help="see, too, whether the archive of GWOSC answers"
    )


def run(given: argparse.Namespace) -> int:
    """Look, and write what was found.

    Returns:
        0, or 1 if something is missing without which `make sandbox` does not run.
    """
    findings = examine(given.network)
    if given.json:
        rows = [{"state": found.state, **dataclasses.asdict(found)} for found in findings]
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
    else:
        sys.stdout.write(describe(findings))
    return int(any(found.state == "needed" for found in findings))


def examine(network: bool = False) -> list[Finding]:
    """Look at everything.

    Args:
        network: Whether to ask the archive of GWOSC for an answer, too.
    """
    findings = [
        machine.python(),
        machine.uv(),
        *machine.environments(),
        machine.memory(),
        *machine.disks(),
        machine.gpu(),
        sites.containers(),
        sites.slurm(),
        sites.htcondor(),
        sites.kubernetes(),
        access.object_storage(),
        access.wandb(),
        access.ligo(),
        access.datafind(),
    ]
    return [*findings, access.gwosc()] if network else findings


def describe(findings: Iterable[Finding]) -> str:
    """Lines for a person: what is there, then what is not and what it would enable."""
    findings = list(findings)
    width = max(len(found.name) for found in findings)
    lines = []
    for found in findings:
        mark = {"there": "ok", "missing": "--", "needed": "!!"}[found.state]
        lines.append(f"{mark}  {found.name:{width}}  {found.found}")
        if found.state != "there":
            lines.append(f"    {'':{width}}  {found.enables}")
    needed = [found.name for found in findings if found.state == "needed"]
    end = f"`make sandbox` needs: {', '.join(needed)}" if needed else "`make sandbox` can run here"
    return "\n".join([*lines, "", end, ""])
