"""`python -m evaluate`."""

import json
import sys

from runtime import command_line

from evaluate.comparison import compare
from evaluate.report import report


def with_lists(words: list[str], option: str) -> list[str]:
    """Several words after an option as the list that it takes.

    Args:
        words: Words of the command line.
        option: The option.
    """
    if option not in words:
        return words
    first = words.index(option) + 1
    last = next((i for i in range(first, len(words)) if words[i].startswith("--")), len(words))
    if last - first < 2:
        return words
    return [*words[:first], json.dumps(words[first:last]), *words[last:]]


command_line(
    "evaluate", {"report": report, "compare": compare}, with_lists(sys.argv[1:], "--runs")
)
