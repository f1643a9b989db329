"""Credentials, of which only the presence is looked at, and the public archive."""

import netrc
import os
import urllib.error
import urllib.request
from pathlib import Path

from aframe.doctor.finding import Finding

# What holds a token of SciTokens or an X.509 proxy, in the order in which clients look.
TOKENS = ("BEARER_TOKEN", "SCITOKEN")
TOKEN_FILES = ("BEARER_TOKEN_FILE", "SCITOKEN_FILE", "X509_USER_PROXY")
ARCHIVE = "https://gwosc.org"
PATIENCE = 5.0


def object_storage() -> Finding:
    """Whether there are keys for `s3://`, and which server is asked."""
    named = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} <= set(os.environ)
    file = Path(os.environ.get("AWS_SHARED_CREDENTIALS_FILE") or Path.home() / ".aws/credentials")
    there = named or file.is_file()
    server = os.environ.get("AWS_ENDPOINT_URL", "Amazon's, for AWS_ENDPOINT_URL is not set")
    keys = "in the environment" if named else f"in {file}" if there else "none"
    found = f"keys {keys}; server {server.rpartition('@')[2]}"
    enables = "AFRAME_STORE=s3://bucket/place keeps products in a bucket: docs/kubernetes.md"
    return Finding("S3", there, found, enables)


def wandb() -> Finding:
    """Whether there is a key for Weights & Biases."""
    named = "WANDB_API_KEY" in os.environ
    there = named or _in_netrc("api.wandb.ai")
    found = "key in the environment" if named else "key in .netrc" if there else "no key"
    enables = "--use-wandb logs trainings there: set WANDB_API_KEY"
    return Finding("Weights & Biases", there, found, enables)


def _in_netrc(host: str) -> bool:
    path = Path(os.environ.get("NETRC") or Path.home() / ".netrc")
    try:
        return path.is_file() and host in netrc.netrc(path).hosts
    except (netrc.NetrcParseError, OSError):
        return False


def ligo() -> Finding:
    """Whether there is a token for data that are not public."""
    name = next((name for name in TOKENS if os.environ.get(name)), "")
    places = [Path(os.environ[name]) for name in TOKEN_FILES if os.environ.get(name)]
    folders = [os.environ.get("XDG_RUNTIME_DIR"), "/tmp"]
    places += [Path(folder) / f"bt_u{os.getuid()}" for folder in folders if folder]
    file = next((path for path in places if path.is_file()), None)
    found = f"in ${name}" if name else f"in {file}" if file else "none"
    enables = "opens LIGO's data that are not public: docs/ldg.md (htgettoken)"
    return Finding("LIGO token", bool(name or file), found, enables)


def datafind() -> Finding:
    """Whether a server that finds frames is named."""
    server = os.environ.get("GWDATAFIND_SERVER", "")
    enables = "finds frames on the LIGO Data Grid: docs/ldg.md"
    return Finding("GWDataFind", bool(server), server or "GWDATAFIND_SERVER is not set", enables)


def gwosc() -> Finding:
    """Whether the archive of public strain answers."""
    server = os.environ.get("GWOSC_SERVER_URL", ARCHIVE)
    enables = "configs/open-run fetches its strain there"
    try:
        with urllib.request.urlopen(server, timeout=PATIENCE) as answer:
            found = f"{server} answers ({answer.status})"
    except (OSError, ValueError) as error:
        reason = error.reason if type(error) is urllib.error.URLError else error
        return Finding("GWOSC", False, f"{server} does not answer: {reason}", enables)
    return Finding("GWOSC", True, found, enables)
