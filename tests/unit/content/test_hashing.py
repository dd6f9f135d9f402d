"""Digests against the specifications, in this process and in several; what happens when files or workers misbehave."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.content.reference_digests import padded, piece_layer, pieces_root, some_bytes, v1_pieces
from weightshare.content import digests, gathering, hashing
from weightshare.content.hashing import FileHashes, hash_each, hash_files
from weightshare.content.v1_twin import join_twin
from weightshare.errors import CheckpointError, DiskError, WorkerError
from weightshare.progress import Progress
from weightshare.units import KIB, MIB

# Around leaves, pieces, the read buffer (512 KiB) and segments (1 MiB in these tests).
SIZES = [
    *(0, 1, 16 * KIB - 1, 16 * KIB, 16 * KIB + 1, 32 * KIB, 48 * KIB + 5, 64 * KIB, 64 * KIB + 1),
    *(128 * KIB, 512 * KIB - 1, 512 * KIB, 512 * KIB + 1, MIB, MIB + 1, 3 * MIB + 12345, 5 * MIB),
]


@pytest.fixture
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "SEGMENT", MIB)


@pytest.fixture(scope="module")
def contents() -> dict[str, bytes]:
    return {f"{size}.bin": some_bytes(size, size) for size in SIZES}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, contents: dict[str, bytes]) -> Path:
    folder = tmp_path_factory.mktemp("files")
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    return folder


def listed(folder: Path, contents: dict[str, bytes]) -> list[tuple[Path, int]]:
    return [(folder / name, len(data)) for name, data in contents.items()]


def expected(data: bytes, piece_length: int, *, hybrid: bool) -> FileHashes:
    if not data:
        return FileHashes(0, hashlib.sha256().digest(), None)
    return FileHashes(
        size=len(data),
        sha256=hashlib.sha256(data).digest(),
        pieces_root=pieces_root(data),
        piece_layer=piece_layer(data, piece_length),
        v1_pieces=v1_pieces(padded(data, piece_length), piece_length) if hybrid else b"",
        v1_last_unpadded=v1_pieces(data, piece_length)[-20:] if hybrid else b"",
    )


@pytest.mark.usefixtures("small_segments")
@pytest.mark.parametrize("piece_length", [16 * KIB, 64 * KIB, 512 * KIB, MIB, 2 * MIB])
@pytest.mark.parametrize("hybrid", [True, False])
@pytest.mark.parametrize("workers", [1, 3])
def test_digests(
    folder: Path, contents: dict[str, bytes], piece_length: int, hybrid: bool, workers: int
) -> None:
    found = hash_files(listed(folder, contents), piece_length, hybrid=hybrid, workers=workers)
    assert found == [expected(data, piece_length, hybrid=hybrid) for data in contents.values()]


@pytest.mark.usefixtures("small_segments")
@pytest.mark.parametrize("hybrid", [True, False])
@pytest.mark.parametrize("workers", [1, 2])
def test_the_v1_twin_runs_across_files(
    folder: Path, contents: dict[str, bytes], hybrid: bool, workers: int
) -> None:
    files, length, tail = listed(folder, contents), 64 * KIB, b"the manifest" * 9000
    found = hash_files(files, length, hybrid=hybrid, workers=workers, v1_twin=True)
    whole = b"".join(contents.values())
    inner = [each.v1_twin for each in found]
    assert join_twin(files, length, inner) == v1_pieces(whole, length)
    assert join_twin(files, length, inner, tail=tail) == v1_pieces(whole + tail, length)
    assert join_twin(files, length) == v1_pieces(whole, length)
    made = sum(map(len, inner)) // 20
    assert made >= len(whole) // length - len(files)  # all but the pieces at the seams came from the one pass


def test_the_twin_of_tiny_files_and_one_piece(tmp_path: Path) -> None:
    files = []
    for number in range(40):
        (tmp_path / str(number)).write_bytes(bytes([number]) * number)
        files.append((tmp_path / str(number), number))
    whole = b"".join(path.read_bytes() for path, _ in files)
    found = hash_files(files, 16 * KIB, hybrid=True, v1_twin=True)
    assert join_twin(files, 16 * KIB, [each.v1_twin for each in found]) == hashlib.sha1(whole).digest()
    with pytest.raises(ValueError, match="bytes of hashes"):
        join_twin(files, 16 * KIB, [bytes(20)] * 40)


def test_no_files() -> None:
    assert hash_files([], 16 * KIB, hybrid=True) == []
    assert join_twin([], 16 * KIB) == b""


@pytest.mark.parametrize("piece_length", [0, 8 * KIB, 48 * KIB])
def test_refuses_an_odd_piece_length(piece_length: int) -> None:
    with pytest.raises(ValueError, match="power of two"):
        hash_files([], piece_length, hybrid=False)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(("given", "real"), [(100, 99), (100, 101), (0, 1), (3 * MIB, 2 * MIB)])
def test_names_a_file_of_another_size(tmp_path: Path, given: int, real: int, workers: int) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_bytes(b"x")
    bad.write_bytes(bytes(real))
    with pytest.raises(CheckpointError, match=f"bad: the file changed: it has {real} bytes"):
        hash_files([(good, 1), (bad, given)], 16 * KIB, hybrid=True, workers=workers)
    outcomes = hash_each([(good, 1), (bad, given)], 16 * KIB, hybrid=False, workers=workers)
    assert isinstance(outcomes[0], FileHashes)
    assert isinstance(outcomes[1], CheckpointError)


@pytest.mark.usefixtures("small_segments")
@pytest.mark.parametrize("workers", [1, 2])
def test_notices_a_file_that_is_written_to_meanwhile(tmp_path: Path, workers: int) -> None:
    path = tmp_path / "growing"
    path.write_bytes(bytes(64 * MIB))

    def meddle(progress: Progress) -> None:
        if progress.done:
            with path.open("r+b") as file:
                file.write(b"other")

    pace = gathering._REPORT_EVERY
    gathering._REPORT_EVERY = 0.0
    try:
        with pytest.raises(CheckpointError, match="written to while it was read"):
            hash_files([(path, 64 * MIB)], 16 * KIB, hybrid=False, workers=workers, observe=meddle)
    finally:
        gathering._REPORT_EVERY = pace


def test_notices_a_small_file_that_is_written_to_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "small"
    path.write_bytes(bytes(2 * digests.BUFFER))
    read = digests._fill

    def read_and_meddle(file: io.FileIO, view: memoryview) -> None:
        read(file, view)
        with path.open("r+b") as other:
            other.write(b"other")

    monkeypatch.setattr(digests, "_fill", read_and_meddle)
    with pytest.raises(CheckpointError, match="written to while it was read"):
        hash_files([(path, 2 * digests.BUFFER)], 16 * KIB, hybrid=False)


@pytest.mark.parametrize("workers", [1, 2])
def test_names_a_file_that_is_gone_or_unreadable(tmp_path: Path, workers: int) -> None:
    with pytest.raises(CheckpointError, match="absent: it is gone"):
        hash_files([(tmp_path / "absent", 5)], 16 * KIB, hybrid=True, workers=workers)
    with pytest.raises(CheckpointError, match="absent: it is gone"):
        hash_files([(tmp_path / "absent", 0)], 16 * KIB, hybrid=True, workers=workers)
    with pytest.raises(DiskError, match="cannot be read"):
        hash_files([(tmp_path, 5)], 16 * KIB, hybrid=True, workers=workers)


def test_reports_progress_to_the_end(folder: Path, contents: dict[str, bytes]) -> None:
    reports: list[Progress] = []
    files = listed(folder, contents)
    hash_files(files, 64 * KIB, hybrid=True, workers=2, observe=reports.append)
    total = sum(SIZES)
    assert (reports[0].done, reports[0].total) == (0, total)
    assert reports[-1].done == total
    assert [report.done for report in reports] == sorted(report.done for report in reports)


def _children() -> Iterator[int]:
    for task in Path("/proc/self/task").iterdir():
        yield from map(int, (task / "children").read_text().split())


@pytest.mark.skipif(sys.platform != "linux", reason="finds the workers in /proc")
def test_a_killed_worker_is_an_error_and_no_hang(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(4096 * MIB)
    before = set(_children())
    killed: list[int] = []

    def kill_one(progress: Progress) -> None:
        if progress.done and not killed:
            killed.append(next(pid for pid in _children() if pid not in before))
            os.kill(killed[0], signal.SIGKILL)

    with pytest.raises(WorkerError, match="killed by signal 9") as caught:
        hash_files([(path, 4096 * MIB)], MIB, hybrid=True, workers=2, observe=kill_one)
    assert caught.value.facts["status"] == -9
    assert set(_children()) == before


SCRIPT = """
import sys
from pathlib import Path
from weightshare.content.hashing import hash_files
print("ready", flush=True)
hash_files([(Path(sys.argv[1]), 64 * 2**30)], 2**20, hybrid=True, workers=2,
           observe=lambda progress: progress.done and print("hashing", flush=True))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="finds the workers in /proc")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_parent_leaves_no_worker_and_no_noise(tmp_path: Path, how: signal.Signals) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(64 * 2**30)
    command = [sys.executable, "-c", SCRIPT, str(path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        assert parent.stdout.readline() == "hashing\n"
        children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
        assert len(children) == 2
        # A terminal's Ctrl-C goes to the whole group; what kills a process goes to it alone.
        (os.killpg if how == signal.SIGINT else os.kill)(parent.pid, how)
        # The workers hold stderr too: its end comes when the last of them has gone.
        _, noise = parent.communicate(timeout=60)
    assert noise.count("Traceback") == (1 if how == signal.SIGINT else 0)
    assert noise.rstrip().endswith("KeyboardInterrupt") or not noise


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_workers_import_little_and_memory_stays_flat(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(256 * MIB)
    seen: dict[int, tuple[str, int]] = {}
    before = set(_children())

    def look(progress: Progress) -> None:
        for pid in set(_children()) - before:
            status = Path(f"/proc/{pid}/status").read_text()
            peak = int(status.partition("VmHWM:")[2].split()[0]) if "VmHWM" in status else 0
            seen[pid] = (Path(f"/proc/{pid}/maps").read_text(), peak)

    hash_files([(path, 256 * MIB)], MIB, hybrid=True, workers=2, observe=look)
    assert len(seen) == 2
    for libraries, peak in seen.values():
        assert "site-packages" not in libraries
        assert 0 < peak < 40 * 1024  # KiB
