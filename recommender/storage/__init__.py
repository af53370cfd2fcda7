"""One interface over folders and `s3://` buckets: whole objects, written at once, conditionally.

store = open_store("s3://bucket/models")        # or a path, or file:///…
etag = store.write_bytes("aliases.json", b"{}", if_absent=True)
store.write_bytes("aliases.json", b"[]", if_match=etag)
"""

from recommender.storage.store import (
    Blob,
    Entry,
    StorageConflictError,
    Store,
    Version,
    is_s3,
    local_path,
    open_store,
)

__all__ = [
    "Blob",
    "Entry",
    "StorageConflictError",
    "Store",
    "Version",
    "is_s3",
    "local_path",
    "open_store",
]
