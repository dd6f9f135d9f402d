"""Unsigned torrents that are being served must stay what arrived, as far as their status shows."""

from __future__ import annotations

from weightshare.api.watching import Watch
from weightshare.content.receipts import Receipt
from weightshare.content.unsigned_store import UnsignedRecord


class UnsignedWatch(Watch):
    """The files of an unsigned torrent that is being served, as they were when they were last hashed."""

    def __init__(self, record: UnsignedRecord) -> None:
        self._folder = record.path
        self._receipts = {file.path: Receipt.of(record.path / file.path, None) for file in record.files}
