"""Puts together what comes of hashing jobs: the digests of each file, the failures, the progress."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from weightshare.content.digests import Digests, Stamp
from weightshare.content.schedule import Job
from weightshare.content.worker import Answer
from weightshare.errors import CheckpointError
from weightshare.manifest import merkle
from weightshare.progress import Observer, Phase, Progress

CHANGED_HINT = "Wait until nothing writes to the folder any more, then run the command again."
_REPORT_EVERY = 0.2


@dataclass(frozen=True, slots=True)
class FileHashes:
    """The digests of one file.

    Attributes:
        size: bytes.
        sha256: of the whole file.
        pieces_root: BitTorrent v2 root, None for an empty file.
        piece_layer: concatenated 32-byte piece hashes; empty if the file is no longer than a piece.
        v1_pieces: concatenated 20-byte SHA-1 of the file's pieces, the last one filled with zeros; empty
            unless hybrid.
        v1_last_unpadded: SHA-1 of the last piece without the zeros, as it counts for the last file of a
            torrent.
        v1_twin: concatenated SHA-1 of those pieces of a plain v1 torrent that lie wholly in this file; the
            others run across files: see `content.v1_twin`.
    """

    size: int
    sha256: bytes
    pieces_root: bytes | None
    piece_layer: bytes = b""
    v1_pieces: bytes = b""
    v1_last_unpadded: bytes = b""
    v1_twin: bytes = b""


class Gathering:
    """Puts together what comes of the jobs."""

    def __init__(
        self, files: Sequence[tuple[Path, int]], piece_length: int, hybrid: bool, twin: bool, meter: Meter
    ) -> None:
        self._files = files
        self._piece_length = piece_length
        self.meter = meter
        self._parts = [_Parts() for _ in files]
        self.failed: dict[int, CheckpointError | OSError] = {}
        self.twins: list[int] = []
        self._twin_from_v1: set[int] = set()
        if twin:
            start = 0
            for index, (_, size) in enumerate(files):
                first = -start % piece_length
                start += size
                if first == 0 and hybrid:  # both torrents cut this file at the same places
                    self._twin_from_v1.add(index)
                    first = -1
                self.twins.append(first if first < size else -1)
        for index, (path, size) in enumerate(files):
            if size == 0:
                self._check_empty(index, path)

    def take(self, answer: Answer) -> int | None:
        """Take in an answer; returns the file's index if it cannot be hashed."""
        job = Job(*answer[0])
        found, problem = answer[1], answer[2]
        if job.file in self.failed:
            return None
        if found is None:
            path = self._files[job.file][0]
            if isinstance(problem, tuple):
                self.failed[job.file] = OSError(problem[0], problem[1], str(path))
            else:
                self.failed[job.file] = _changed(path, str(problem))
            return job.file
        digests = Digests(*found)
        parts = self._parts[job.file]
        if parts.stamp not in (None, digests.stamp):
            self.failed[job.file] = _changed(self._files[job.file][0], "it was written to while it was read")
            return job.file
        parts.stamp = digests.stamp
        if job.pieces:
            parts.layer[job.offset] = digests.layer
            parts.v1[job.offset] = digests.v1
            parts.v1_last_unpadded = digests.v1_last_unpadded or parts.v1_last_unpadded
        if job.whole:
            parts.twin.append(digests.twin)
            parts.sha256 = digests.sha256
        self.meter.add(job)
        return None

    def outcome(self, index: int) -> FileHashes:
        """The digests of a file that is done."""
        size, parts = self._files[index][1], self._parts[index]
        if size == 0:
            return FileHashes(0, hashlib.sha256().digest(), None)
        layer = b"".join(parts.layer[offset] for offset in sorted(parts.layer))
        v1 = b"".join(parts.v1[offset] for offset in sorted(parts.v1))
        twin = b"".join(parts.twin)
        if index in self._twin_from_v1:
            twin = v1[: size // self._piece_length * 20]
        if size <= self._piece_length:
            root, layer = layer, b""
        else:
            root = merkle.file_root(merkle.split_layer(layer), self._piece_length)
        return FileHashes(size, parts.sha256, root, layer, v1, parts.v1_last_unpadded, twin)

    def _check_empty(self, index: int, path: Path) -> None:
        try:
            found = path.stat().st_size
        except OSError as error:
            self.failed[index] = error
            return
        if found:
            self.failed[index] = _changed(path, f"it has {found} bytes, expected 0")


@dataclass(slots=True)
class _Parts:
    """What is known of one file so far: hashes by the offset of their segment."""

    layer: dict[int, bytes] = field(default_factory=dict)
    v1: dict[int, bytes] = field(default_factory=dict)
    v1_last_unpadded: bytes = b""
    twin: list[bytes] = field(default_factory=list)
    sha256: bytes = b""
    stamp: Stamp | None = None


class Meter:
    """Turns finished jobs into progress. Pieces and whole-file digest count half a byte each."""

    def __init__(self, observe: Observer, phase: Phase, total: int) -> None:
        self._observe = observe
        self._phase = phase
        self._total = total
        self._halves = 0
        self._rate = 0.0
        self._last = time.monotonic()
        self._last_done = 0
        observe(Progress(phase, 0, total))

    def add(self, job: Job) -> None:
        """Count a finished job, and report if it is time."""
        self._halves += job.length * (job.whole + job.pieces)
        now = time.monotonic()
        passed = now - self._last
        if passed < _REPORT_EVERY:
            return
        done = self._halves // 2
        rate = (done - self._last_done) / passed
        self._rate = rate if not self._rate else 0.7 * self._rate + 0.3 * rate
        self._last, self._last_done = now, done
        self._observe(Progress(self._phase, done, self._total, self._rate))

    def end(self) -> None:
        """Report for the last time."""
        self._observe(Progress(self._phase, self._halves // 2, self._total, self._rate))


def _changed(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(f"{path}: the file changed: {reason}.", hint=CHANGED_HINT, path=str(path))
