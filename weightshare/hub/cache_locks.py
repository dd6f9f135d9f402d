"""The locks of the Hub's cache, as huggingface_hub takes them: one a blob, `CACHE/.locks/models--…/<etag>.lock`.

Who holds it may make the blob and the links to it; huggingface_hub holds it for as long as it downloads. Its own
`WeakFileLock` is this and no more, but says where it waits only to a log, and importing it takes seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from weightshare.errors import StoreLockedError

PATIENCE = 60.0
"""Seconds to wait for another program that has the lock of a blob."""

_MODE = 0o664  # so that all who share a cache can wait for one another


@contextmanager
def blob_lock(cache: Path, repository: str, name: str, *, patience: float = PATIENCE) -> Iterator[None]:
    """Hold a blob.

    Args:
        cache: the cache.
        repository: the name of the repository's folder in it.
        name: the blob's.
        patience: seconds to wait.

    Raises:
        StoreLockedError: another program has it for longer than that.
        OSError: the lock cannot be made.
    """
    from filelock import FileLock, SoftFileLock, Timeout

    path = cache / ".locks" / repository / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock: FileLock | SoftFileLock = FileLock(path, timeout=patience, mode=_MODE)
    try:
        try:
            lock.acquire()
        except NotImplementedError:  # a file system without locks
            lock = SoftFileLock(path, timeout=patience)
            lock.acquire()
    except Timeout:
        raise StoreLockedError(
            f"Another program is working on the blob {name} of {repository} in the Hub's cache; "
            f"waited {patience:.0f} s for {path}.",
            hint="Is a download of the same model running? Once it is over, the same command goes on.",
            path=str(path),
            pid=None,
        ) from None
    try:
        yield
    finally:
        with suppress(OSError):
            lock.release()
