"""The observatories' segment database, DQSegDB, through its own client."""

from __future__ import annotations

import dqsegdb2.query
import requests
from dqsegdb2.utils import get_default_host
from igwn_auth_utils.error import IgwnAuthError

from datagen.query.intervals import intervals
from datagen.query.segment_files import Flag
from datagen.retry import with_retries

TOKEN = "htgettoken -a vault.ligo.org -i igwn"
TIMEOUT = 60  # s


class ServerError(requests.RequestException):
    """The server failed, which may pass."""


def database_flag(name: str, start: float, stop: float) -> Flag:
    """A flag of the segment database.

    The server is that of the client: `$DEFAULT_SEGMENT_SERVER`, or https://segments.igwn.org.

    Args:
        name: For example `H1:DMT-ANALYSIS_READY:1`; all versions where none is given.
        start: GPS start of what is asked [s].
        stop: GPS stop [s].

    Raises:
        ValueError: No such flag, no credential, or no answer; says which and what to do.
    """
    host = get_default_host()
    if name.count(":") not in (1, 2):
        raise ValueError(
            f"{name} is no flag of the segment database {host}: expected a name such as "
            "H1:DMT-ANALYSIS_READY:1; give it in strain.flags"
        )

    def ask() -> dict:
        try:
            return dqsegdb2.query.query_segments(name, start, stop, timeout=TIMEOUT)
        except requests.HTTPError as error:
            if error.response.status_code >= 500:
                raise ServerError(str(error)) from error
            raise

    passing = (requests.ConnectionError, requests.Timeout, ServerError)
    try:
        answer = with_retries(ask, f"flag {name}", retry_on=passing)
    except IgwnAuthError as error:
        raise _unauthorized(name, host, error) from error
    except requests.HTTPError as error:
        if error.response.status_code in (401, 403):
            raise _unauthorized(name, host, error) from error
        raise ValueError(f"{host} has no flag {name} ({error}): check its name") from error
    except requests.RequestException as error:
        raise ValueError(
            f"{host} does not answer for flag {name} ({error}): it serves members of the "
            "collaborations; check the network and DEFAULT_SEGMENT_SERVER, or name a file of "
            "segments in the experiment"
        ) from error
    return Flag(intervals(answer["known"]), intervals(answer["active"]))


def _unauthorized(name: str, host: str, error: Exception) -> ValueError:
    return ValueError(
        f"{host} does not give flag {name} without a credential ({error}): expected a SciToken "
        f"with the scope dqsegdb.read; get one with `{TOKEN}`, or name a file of segments in the "
        "experiment"
    )
