"""What a fetch has on the disk so far, held against what was published, byte by byte."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from weightshare.content.store import STAGING


class Disk:
    """One fetch's folder.

    Args:
        folder: where it lands.
        files: what was published.
        piece: the torrent's piece length.

    Attributes:
        pieces: those that are there and right, by path and offset, as of the last look.
    """

    def __init__(self, folder: Path, files: Mapping[str, bytes], piece: int) -> None:
        self.folder = folder
        self.files = files
        self.piece = piece
        self.size = sum(map(len, files.values()))
        self.pieces: set[tuple[str, int]] = set()

    def look(self) -> None:
        """A file under its final name is the published one; no piece that was on the disk before is gone."""
        before, self.pieces = self.pieces, set()
        for path, data in self.files.items():
            final = self.folder / path
            if final.exists():
                assert final.read_bytes() == data, f"{path} has its name and is wrong"
                self.pieces.update((path, at) for at in range(0, len(data), self.piece))
                continue
            for staged in self.folder.glob(f"{STAGING}/*/*/{path}"):
                found = staged.read_bytes()
                self.pieces.update(
                    (path, at)
                    for at in range(0, len(data), self.piece)
                    if found[at : at + self.piece] == data[at : at + self.piece]
                )
        assert before <= self.pieces, sorted(before - self.pieces)

    def bytes(self) -> int:
        """What need not come again."""
        return sum(len(self.files[path][at : at + self.piece]) for path, at in self.pieces)

    def phase(self) -> str:
        """How far it is, by what can be seen."""
        if not self.pieces:
            return "before the first piece"
        if any((self.folder / path).exists() for path in self.files):
            return "giving names"
        return "fetching" if self.bytes() < self.size else "proving"
