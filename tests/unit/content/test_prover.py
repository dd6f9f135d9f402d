"""Proofs of single pieces, in this process and in the background."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path

import pytest

from tests.unit.content.reference_digests import piece_layer, pieces_root, some_bytes
from weightshare.content.hashing import Prover, piece_hash, tree_length
from weightshare.errors import WorkerError
from weightshare.units import KIB, MIB


def drain(prover: Prover) -> dict[int, bytes | OSError]:
    found: dict[int, bytes | OSError] = {}
    while prover.pending:
        found.update(prover.drain(timeout=30))
    return found


@pytest.mark.parametrize("size", [1, 16 * KIB, 16 * KIB + 1, 50 * KIB, 64 * KIB])
def test_the_root_of_a_file_of_one_piece(tmp_path: Path, size: int) -> None:
    data = some_bytes(size)
    (tmp_path / "f").write_bytes(data)
    assert piece_hash(tmp_path / "f", 0, size, tree_length(size, 64 * KIB)) == pieces_root(data)


def test_pieces_of_a_longer_file(tmp_path: Path) -> None:
    data, length = some_bytes(3 * MIB + 77), MIB
    (tmp_path / "f").write_bytes(data)
    layer = piece_layer(data, length)
    with Prover(length, workers=2) as prover:
        assert prover.drain() == []
        for piece in range(4):
            prover.submit(piece, tmp_path / "f", piece * length, min(length, len(data) - piece * length))
        assert prover.pending == 4
        found = drain(prover)
    assert b"".join(hash for _, hash in sorted(found.items()) if isinstance(hash, bytes)) == layer


def test_what_cannot_be_read_comes_back_as_an_error(tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(bytes(100))
    with Prover(16 * KIB, workers=1) as prover:
        prover.submit(1, tmp_path / "absent", 0, 10)
        prover.submit(2, tmp_path / "short", 0, 101)
        prover.submit(3, tmp_path / "short", 0, 100)
        found = drain(prover)
    assert isinstance(found[1], FileNotFoundError)
    assert isinstance(found[2], OSError)
    assert found[2].errno == errno.EIO
    assert found[3] == pieces_root(bytes(100))


def test_many_more_pieces_than_fit_the_queues(tmp_path: Path) -> None:
    data = some_bytes(MIB)
    (tmp_path / "f").write_bytes(data)
    with Prover(16 * KIB, workers=2) as prover:
        for piece in range(64):
            prover.submit(piece, tmp_path / "f", piece * 16 * KIB, 16 * KIB)
        found = drain(prover)
    assert b"".join(hash for _, hash in sorted(found.items()) if isinstance(hash, bytes)) == piece_layer(
        data, 16 * KIB
    )


@pytest.mark.skipif(os.name == "nt", reason="kills by signal")
def test_a_killed_process_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(bytes(10))
    with Prover(16 * KIB, workers=1) as prover:
        prover.submit(1, tmp_path / "f", 0, 10)
        drain(prover)
        assert prover._workers is not None
        os.kill(prover._workers.pids[0], signal.SIGKILL)
        with pytest.raises(WorkerError, match="killed by signal 9"):  # noqa: PT012
            prover.submit(2, tmp_path / "f", 0, 10)
            drain(prover)


def test_closing_drops_what_is_pending(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(bytes(10))
    prover = Prover(16 * KIB, workers=1)
    prover.submit(1, tmp_path / "f", 0, 10)
    prover.close()
    assert prover.pending == 0
    assert prover.drain() == []
