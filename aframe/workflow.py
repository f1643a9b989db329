"""Workflows: tasks of many branches, one stage command each."""

from collections.abc import Iterator
from typing import Any

import law
from law.workflow.local import LocalWorkflowProxy


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


class StageWorkflow(law.LocalWorkflow):
    """Base of stages with branches."""

    workflow_proxy_cls = _BranchesInTurn
