"""`python -m evaluate`."""

from runtime import command_line

from evaluate.report import report

command_line("evaluate", {"report": report})
