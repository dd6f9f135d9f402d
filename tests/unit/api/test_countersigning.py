"""What a mirror signs for: a whole release, every file of it found sound just now."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.builders_mirrors import CDN, KNOWN, info_hash, verified
from weightshare.api.countersigning import Attester, Demand
from weightshare.api.offering import Located
from weightshare.content.store import Record
from weightshare.content.verifier import FileReport
from weightshare.errors import CheckpointError, DiskError, FileInTheWayError, UsageError
from weightshare.trust.countersign import MAX_COUNTERSIGNATURE, read

SOUND = [FileReport(entry.path, True) for entry in verified().manifest.files]
RECORD = Record(
    info_hash_v2=info_hash().hex(),
    info_hash_v1=None,
    release="acme/m7b@1.0",
    publisher=verified().fingerprint,
    kind="fetched",
    path=Path("/nowhere"),
    bytes=0,
    complete=True,
    created="2026-11-22T10:00:00+00:00",
)


def _attester(out: Path, record: Record | None = RECORD, *, force: bool = False) -> Attester:
    located = Located(verified(), out.parent, {}, record, {})
    return Attester(located, info_hash(), CDN, out=out, force=force)


def test_a_whole_release_is_signed_for(tmp_path: Path) -> None:
    out = _attester(tmp_path / "out.json").attest(SOUND)
    found = read(out.read_bytes(), KNOWN)
    assert (found.payload_sha256, found.info_hash_v2) == (verified().payload_sha256, info_hash())
    assert found.tool.startswith("weightshare ")
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


@pytest.mark.parametrize(
    "reports",
    [
        [],
        SOUND[1:],
        [replace(SOUND[0], ok=False, problem="corrupt"), *SOUND[1:]],
        [*SOUND, FileReport("extra", False, "extra")],
    ],
)
def test_anything_less_is_not(tmp_path: Path, reports: list[FileReport]) -> None:
    with pytest.raises(CheckpointError, match="nothing is signed") as caught:
        _attester(tmp_path / "out.json").attest(reports)
    assert caught.value.exit_code == 4
    assert list(tmp_path.iterdir()) == []


def test_a_part_of_a_release_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        _attester(tmp_path / "out.json", replace(RECORD, complete=False))


def test_a_file_that_appears_meanwhile_is_left_alone(tmp_path: Path) -> None:
    attester = _attester(tmp_path / "out.json")
    (tmp_path / "out.json").write_text("mine")
    with pytest.raises(FileInTheWayError):
        attester.attest(SOUND)
    assert (tmp_path / "out.json").read_text() == "mine"
    (tmp_path / "folder").mkdir()
    with pytest.raises(FileInTheWayError):
        _attester(tmp_path / "folder", force=True)
    with pytest.raises(DiskError, match="no folder"):
        _attester(tmp_path / "nowhere" / "out.json")


def test_files_are_read_no_further_than_allowed(tmp_path: Path) -> None:
    large = tmp_path / "large.json"
    large.write_bytes(b" " * (MAX_COUNTERSIGNATURE + 100))
    demand = Demand.read([large], 0)
    assert len(demand.attestations[0].data) == MAX_COUNTERSIGNATURE + 1
    heard = demand.hear(verified(), info_hash(), KNOWN)
    assert heard.mirrors == ()
    assert "bytes allowed" in heard.warnings[0]
    for files, count in (([tmp_path / "missing"], 0), ([tmp_path], 0), ([], -1)):
        with pytest.raises(UsageError):
            Demand.read(files, count)
