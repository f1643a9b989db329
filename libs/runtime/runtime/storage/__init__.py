"""Products in a bucket: fetched when they are needed, published when they are complete.

Nothing of a bucket's client is imported before a URL is met.
"""

from runtime.storage.address import (
    StorageError,
    as_url,
    cache_folder,
    is_url,
    local_path,
    url_of,
    with_urls,
)
from runtime.storage.keeping import discard, kept
from runtime.storage.publishing import publish, remove
from runtime.storage.receiving import exists, fetch, listing, require

__all__ = [
    "StorageError",
    "as_url",
    "cache_folder",
    "discard",
    "exists",
    "fetch",
    "is_url",
    "kept",
    "listing",
    "local_path",
    "publish",
    "remove",
    "require",
    "url_of",
    "with_urls",
]
