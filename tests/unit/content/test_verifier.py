"""A folder against its manifest: each way to differ is named, with the pieces where they are known."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.builders_load import PIECE, Release, flip, release_of
from tests.unit.content.reference_digests import some_bytes
from weightshare.content.padding import pads_of
from weightshare.content.verifier import FileReport, check_folder
from weightshare.errors import CorruptError
from weightshare.progress import Phase, Progress
from weightshare.trust.gate import verify
from weightshare.trust.keys import FileSigner
from weightshare.trust.pins import Pin
from weightshare.trust.publishers import KnownPublishers
from weightshare.trust.signing import sign

SIZE = 5 * PIECE + 1234
POSIX = pytest.mark.skipif(os.name == "nt", reason="links and pipes of POSIX")


@pytest.fixture
def release(tmp_path: Path) -> Release:
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (folder / "big.safetensors").write_bytes(some_bytes(SIZE, 1))
    (folder / "even.bin").write_bytes(some_bytes(2 * PIECE, 2))
    (folder / "small.json").write_bytes(some_bytes(777, 3))
    (folder / "empty").touch()
    (folder / "sub/notes.md").write_bytes(some_bytes(PIECE, 4))
    return release_of(folder, tmp_path / "keys")


def problems(release: Release, **options: object) -> dict[str, tuple[str, tuple[int, ...]]]:
    """What is wrong, by path."""
    reports = check_folder(release.folder, release.verified, layers=release.layers, **options)  # type: ignore[arg-type]
    for report in reports:
        assert report.ok == (not report.problem)
    return {report.path: (report.problem, report.bad_pieces) for report in reports if not report.ok}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_sound_folder(release: Release, workers: int) -> None:
    reports = check_folder(release.folder, release.verified, layers=release.layers, workers=workers)
    assert reports == [FileReport(entry.path, True) for entry in release.verified.manifest.files]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("path", "offset", "piece"),
    [
        ("big.safetensors", 0, 0),
        ("big.safetensors", PIECE - 1, 0),
        ("big.safetensors", PIECE, 1),
        ("big.safetensors", 3 * PIECE + 100, 3),
        ("big.safetensors", SIZE - 1, 5),
        ("even.bin", 2 * PIECE - 1, 1),
        ("small.json", 400, 0),
        ("sub/notes.md", PIECE - 1, 0),
    ],
)
def test_a_flipped_bit(release: Release, path: str, offset: int, piece: int, workers: int) -> None:
    status = (release.folder / path).stat()
    flip(release.folder / path, offset)
    os.utime(release.folder / path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert problems(release, workers=workers) == {path: ("corrupt", (piece,))}


def test_several_bad_pieces(release: Release) -> None:
    for piece in (1, 4):
        flip(release.folder / "big.safetensors", piece * PIECE)
    flip(release.folder / "small.json", 0)
    assert problems(release) == {"big.safetensors": ("corrupt", (1, 4)), "small.json": ("corrupt", (0,))}


def test_without_layers_a_bad_file_is_bad_all_the_same(release: Release) -> None:
    flip(release.folder / "big.safetensors", 0)
    (report,) = [r for r in check_folder(release.folder, release.verified) if not r.ok]
    assert (report.problem, report.bad_pieces) == ("corrupt", ())
    assert report.expected == release.entry("big.safetensors").sha256.hex()
    assert len(report.found) == 64
    assert report.found != report.expected


@pytest.mark.parametrize(
    ("path", "size", "pieces"),
    [
        ("big.safetensors", SIZE - 1, (5,)),
        ("big.safetensors", 3 * PIECE, (3, 4, 5)),
        ("big.safetensors", PIECE, (1, 2, 3, 4, 5)),
        ("big.safetensors", PIECE - 1, (0, 1, 2, 3, 4, 5)),
        ("big.safetensors", 0, (0, 1, 2, 3, 4, 5)),
        ("big.safetensors", SIZE + 1, (5,)),
        ("even.bin", 2 * PIECE + 1, ()),
        ("small.json", 776, (0,)),
        ("small.json", 3 * PIECE, (0,)),
        ("empty", 1, ()),
    ],
)
def test_cut_short_or_extended(release: Release, path: str, size: int, pieces: tuple[int, ...]) -> None:
    signed = release.entry(path).size
    os.truncate(release.folder / path, size)
    assert problems(release) == {path: ("wrong size", pieces)}
    (report,) = [r for r in check_folder(release.folder, release.verified) if not r.ok]
    assert (report.expected, report.found) == (f"{signed} bytes", f"{size} bytes")


def test_missing_and_extra_files(release: Release) -> None:
    (release.folder / "small.json").unlink()
    (release.folder / "sub/notes.md").unlink()
    (release.folder / "sub").rmdir()
    (release.folder / "new").mkdir()
    (release.folder / "new/one.py").write_text("x")
    (release.folder / ".hidden").write_text("x")
    missing = {"small.json": ("missing", ()), "sub/notes.md": ("missing", ())}
    extra = {".hidden": ("extra", ()), "new/one.py": ("extra", ())}
    assert problems(release) == {**missing, **extra}
    assert problems(release, extras=False) == missing


def test_pads_that_another_client_wrote_are_not_extra(release: Release) -> None:
    """rtorrent writes a hybrid's pads out, and needs them there to seed; nothing else may hide in their folder."""
    assert pads_of(release.verified) == {}
    release = release_of(release.folder, release.folder.parent / "keys", hybrid=True)
    pads = pads_of(release.verified)
    assert len(pads) > 1
    (release.folder / ".pad").mkdir()
    for path, size in pads.items():
        (release.folder / path).write_bytes(bytes(size))
    assert problems(release) == {}
    full, other = list(pads)[:2]
    (release.folder / full).write_bytes(bytes(pads[full] - 1) + b"x")
    (release.folder / other).write_bytes(bytes(pads[other] + 1))
    (release.folder / ".pad/1234567").write_bytes(b"")
    assert problems(release) == dict.fromkeys((full, other, ".pad/1234567"), ("extra", ()))


def test_the_manifest_and_our_own_files_are_not_extra(release: Release) -> None:
    (release.folder / "weightshare.json").write_text("x")
    (release.folder / ".weightshare").mkdir()
    (release.folder / ".weightshare/part").write_text("x")
    assert problems(release) == {}
    (release.folder / "sub/weightshare.json").write_text("x")
    assert problems(release) == {"sub/weightshare.json": ("extra", ())}


@POSIX
def test_a_link_in_a_files_place(release: Release, tmp_path: Path) -> None:
    path, copy = release.folder / "small.json", tmp_path / "copy"
    path.rename(copy)
    path.symlink_to(copy)
    assert problems(release) == {"small.json": ("not a regular file", ())}
    assert problems(release, locations={"small.json": copy}) == {}
    assert problems(release, locations={"small.json": release.folder / "empty"}) == {
        "small.json": ("not a regular file", ())
    }
    flip(copy, 0)
    assert problems(release, locations={"small.json": copy}) == {"small.json": ("corrupt", (0,))}


@POSIX
def test_a_link_in_a_folders_place(release: Release, tmp_path: Path) -> None:
    (release.folder / "sub").rename(tmp_path / "sub")
    (release.folder / "sub").symlink_to(tmp_path / "sub")
    assert problems(release) == {"sub/notes.md": ("not a regular file", ()), "sub": ("extra", ())}


@POSIX
def test_a_link_that_leads_nowhere_or_round(release: Release) -> None:
    (release.folder / "small.json").unlink()
    (release.folder / "small.json").symlink_to("nothing")
    (release.folder / "empty").unlink()
    (release.folder / "empty").symlink_to("empty")
    assert set(problems(release)) == {"small.json", "empty"}


@POSIX
def test_a_hub_snapshot_keeps_its_links(release: Release, tmp_path: Path) -> None:
    repository = tmp_path / "models--acme--m"
    (repository / "snapshots").mkdir(parents=True)
    (repository / "blobs").mkdir()
    snapshot = release.folder.rename(repository / "snapshots/1")
    (snapshot / "small.json").rename(repository / "blobs/b")
    (snapshot / "small.json").symlink_to("../../blobs/b")
    reports = check_folder(snapshot, release.verified, layers=release.layers)
    assert all(report.ok for report in reports)


@POSIX
@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_something_else_in_a_files_place(release: Release, make: Callable[[Path], None]) -> None:
    (release.folder / "small.json").unlink()
    make(release.folder / "small.json")
    assert problems(release) == {"small.json": ("not a regular file", ())}


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file(release: Release) -> None:
    (release.folder / "small.json").chmod(0)
    assert problems(release) == {"small.json": ("unreadable", ())}


def test_a_folder_that_is_gone(release: Release) -> None:
    release.folder.rename(release.folder.with_name("moved"))
    assert {problem for problem, _ in problems(release).values()} == {"missing"}


def test_refuses_a_layer_that_was_not_signed(release: Release) -> None:
    root = release.entry("big.safetensors").pieces_root
    assert root is not None
    for forged in (bytes(32 * 6), release.layers[root][:-32]):
        with pytest.raises(CorruptError, match="not the one that was signed"):
            check_folder(release.folder, release.verified, layers={root: forged})


def test_both_digests_must_hold(release: Release, tmp_path: Path) -> None:
    signer = FileSigner.load(tmp_path / "keys/key")
    manifest = release.verified.manifest
    known = KnownPublishers(()).add(Pin("acme", signer.public_key.fingerprint, signer.public_key))
    for change in ({"sha256": bytes(32)}, {"pieces_root": bytes(32)}):
        first = replace(manifest.files[0], **change)  # type: ignore[arg-type]
        odd = replace(manifest, files=(first, *manifest.files[1:]))
        verified = verify(sign(odd, signer).to_bytes(), known)
        reports = check_folder(release.folder, verified)
        assert [(report.path, report.problem) for report in reports if not report.ok] == [
            (first.path, "corrupt")
        ]


def test_verifying_writes_nothing_and_reports_progress(release: Release) -> None:
    everything = [release.folder, *release.folder.rglob("*")]
    for path in everything:
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = {path: (path.stat().st_mtime_ns, path.stat().st_ctime_ns) for path in everything}
    reports: list[Progress] = []
    try:
        assert problems(release, observe=reports.append) == {}
    finally:
        after = {path: (path.stat().st_mtime_ns, path.stat().st_ctime_ns) for path in everything}
        for path in everything:
            path.chmod(0o755 if path.is_dir() else 0o644)
    assert after == before
    assert {report.phase for report in reports} == {Phase.VERIFYING}
    assert reports[-1].done == reports[-1].total == release.verified.manifest.size
