"""A release that is being served must stay what was proven: its files are looked at, by their status, all the while."""

from __future__ import annotations

from weightshare.api.offering import Located
from weightshare.content.receipts import load_receipts
from weightshare.content.store import Record, Store
from weightshare.errors import CorruptError


class Watch:
    """The receipts of a release, held against its files.

    A write that changes neither size nor times would go unseen; the receiving side finds it by the piece's hash.

    Args:
        store: where the receipts are.
        located: the release.
        record: what the store knows of it; its receipts hold just now.
    """

    def __init__(self, store: Store, located: Located, record: Record) -> None:
        receipts = load_receipts(store.folder(record) / "receipts.json")
        names = [entry.path for entry in located.verified.manifest.files]
        self._folder = located.folder
        self._receipts = {name: receipts[name] for name in names if name in receipts}

    def changed(self) -> str:
        """What happened to a file, empty if nothing did."""
        for name, receipt in self._receipts.items():
            try:
                found = (self._folder / name).stat()
            except OSError as error:
                return f"{name} is gone ({error.strerror})"
            if found.st_size < receipt.size:
                return f"{name} was cut to {found.st_size:,} of {receipt.size:,} bytes"
            if not receipt.still_holds(found):
                return f"{name} was changed since it was proven"
        return ""

    def error(self, release: str, why: str) -> CorruptError:
        """What to tell the user."""
        return CorruptError(
            f"{release} in {self._folder}: {why}.",
            hint="`weightshare verify` names the pieces; fetching the release again replaces what is bad.",
            path=str(self._folder),
            pieces=[],
        )
