"""Say in a sentence what the user can mend; keep the traceback of what is our fault."""

import logging
import os

import luigi
from ledger import ProductError
from runtime.storage import with_urls

from aframe.environment import SetupError
from aframe.sandbox import StageError

USER_ERRORS = (
    ProductError,
    SetupError,
    StageError,
    ValueError,
    OSError,
    luigi.parameter.ParameterException,
)

# What luigi tells of each task before it runs: long, and the summary at the end says it again.
CHATTER = ("Informed scheduler", "[pid ", "Done scheduling", "Running Worker", "Worker Worker")


class Sentences(logging.Filter):
    """Keep luigi's log readable: no traceback for a user's error, no line per scheduled task.

    `AFRAME_TRACEBACK=1` shows all of it.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Shorten a record, or drop it."""
        if os.environ.get("AFRAME_TRACEBACK"):
            return True
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, USER_ERRORS):
            record.msg, record.args = "%s", (with_urls(str(error)),)
            record.exc_info = record.exc_text = None
            return True
        return record.levelno > logging.INFO or not str(record.msg).startswith(CHATTER)


def install() -> None:
    """Filter luigi's log."""
    log = logging.getLogger("luigi-interface")
    if not any(isinstance(item, Sentences) for item in log.filters):
        log.addFilter(Sentences())
