"""`publish --oms-key`: what becomes of the folder, and what is refused before a byte of it is hashed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.builders_checkpoints import contents, place, tiny
from tests.builders_oms import key_files, payload_of, private_key, private_pem
from tests.cli.helpers import result, weightshare
from tests.integration.plain_client import fetch as fetch_plainly
from tests.integration.releases import publish
from tests.integration.running import seeding
from weightshare.api.checking import verify
from weightshare.api.cosigning import sign_manifest
from weightshare.api.identity import new_key
from weightshare.api.oms_checking import verify_oms
from weightshare.api.preparing import finish, prepare
from weightshare.api.publishing import publish as publish_here
from weightshare.api.teams import new_team, sign_root, trust_team
from weightshare.content.home import Home
from weightshare.errors import DiskError
from weightshare.manifest import bencode
from weightshare.manifest.model import MANIFEST_NAME
from weightshare.progress import Phase, Progress
from weightshare.units import KIB, MIB


@pytest.fixture
def home(tmp_path: Path) -> Path:
    made = tmp_path / "maintainer"
    made.mkdir()
    result(made, "keys", "new", "acme")
    return made


def listed(home: Path, folder: Path) -> dict[str, str]:
    """The files that a folder's signed manifest lists, with their digests."""
    said = result(home, "inspect", str(folder))
    return {file["path"]: file["sha256"] for file in said["files"]}


def resources(folder: Path) -> list[str]:
    """What `model.sig` lists."""
    return [
        entry["name"] for entry in payload_of((folder / "model.sig").read_bytes())["predicate"]["resources"]
    ]


def test_the_signature_is_made_anew_and_is_a_file_of_the_release(home: Path, tmp_path: Path) -> None:
    private, public = key_files(tmp_path)
    folder = place(tmp_path / "m", tiny() | {"model.sig": b"an older one"})
    made = publish(home, folder, "--oms-key", str(private))
    assert made.facts["oms"] == str(folder / "model.sig")
    data = (folder / "model.sig").read_bytes()
    assert listed(home, folder)["model.sig"] == hashlib.sha256(data).hexdigest()
    assert made.facts["files"] == 4
    assert resources(folder) == sorted(tiny())
    assert result(home, "verify", str(folder))["ok"]
    # Published once more, the signature of the first time is not signed by the second.
    publish(home, folder, "--oms-key", str(private), "--version", "2")
    assert resources(folder) == sorted(tiny())
    assert result(home, "verify", str(folder), "--oms", "model.sig", "--oms-key", str(public))["ok"]


def test_without_a_key_a_signature_is_a_file_like_any_other(home: Path, tmp_path: Path) -> None:
    folder = place(tmp_path / "m", tiny() | {"model.sig": b"an older one"})
    assert publish(home, folder).facts["oms"] is None
    assert (folder / "model.sig").read_bytes() == b"an older one"
    assert "model.sig" in listed(home, folder)


def test_no_byte_is_hashed_twice(home: Path, tmp_path: Path) -> None:
    seen: list[Progress] = []
    folder = place(tmp_path / "m", tiny())
    own = Home(home / "weightshare")
    publish_here(folder, "acme/m", oms_key=key_files(tmp_path)[0], home=own, observe=seen.append)
    assert {progress.total for progress in seen if progress.phase is Phase.HASHING} == {
        sum(map(len, tiny().values()))
    }


@pytest.mark.parametrize("way", [(), ("--v2-only",)])
def test_v1_clients_get_the_signature_too(home: Path, tmp_path: Path, way: tuple[str, ...]) -> None:
    private, _ = key_files(tmp_path)
    # Names that sort on both sides of `model.sig`.
    folder = place(tmp_path / "m", tiny() | {"zz/last.txt": b"last" * 5000})
    made = publish(home, folder, "--oms-key", str(private), "--v1-twin", "--piece-length", "16K", *way)
    assert_twin(folder, Path(made.facts["v1_twin"]), {*tiny(), "zz/last.txt", "model.sig", MANIFEST_NAME})


def assert_twin(folder: Path, torrent: Path, names: set[str]) -> None:
    """A v1 torrent that holds for the folder as it is, for all of these files."""
    info: Any = bencode.decode(torrent.read_bytes(), limit=MIB, what="torrent")
    info = info[b"info"]
    paths = [b"/".join(entry[b"path"]).decode() for entry in info[b"files"]]
    assert sorted(paths) == sorted(names)
    data = b"".join((folder / path).read_bytes() for path in paths)
    size = info[b"piece length"]
    assert info[b"pieces"] == b"".join(
        hashlib.sha1(data[at : at + size]).digest() for at in range(0, len(data), size)
    )


def test_a_team_signs_a_manifest_that_lists_the_signature(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    members = [new_key(name, home=home)[1] for name in ("ann", "bob")]
    root = new_team("acme", [f"{path}.pub" for path in members], 2, out=tmp_path, home=home).path
    assert root is not None
    for member in members:
        sign_root(root, key=member, home=home)
    trust_team("acme", root, home=home)
    private, public = key_files(tmp_path)
    folder = place(tmp_path / "m", tiny() | {"zz/last.txt": b"last" * 5000})

    prepared = prepare(
        folder, "acme/m7b", oms_key=private, out=tmp_path, home=home, v1_twin=True, piece_length=16 * KIB
    )
    data = (folder / "model.sig").read_bytes()
    for member in members:
        sign_manifest(prepared.manifest, key=member, home=home)
    made = finish(
        prepared.manifest,
        home=home,
        observe=lambda progress: pytest.fail(f"hashed {progress.total} bytes again"),
    )
    assert (folder / "model.sig").read_bytes() == data
    assert made.oms == folder / "model.sig"
    assert verify_oms(folder, key=public).ok
    assert verify(str(folder), home=home).ok
    assert made.v1_twin is not None
    assert_twin(folder, made.v1_twin, {*tiny(), "zz/last.txt", "model.sig", MANIFEST_NAME})


def test_a_signature_comes_before_the_team_signs(tmp_path: Path) -> None:
    private, public = key_files(tmp_path)
    done = weightshare(tmp_path, "publish", "--finish", str(public), "--oms-key", str(private))
    assert done.returncode == 2
    assert b"--oms-key is for --prepare" in done.stderr


def test_an_encrypted_key_takes_its_passphrase_from_the_environment(home: Path, tmp_path: Path) -> None:
    folder, key = place(tmp_path / "m", tiny()), tmp_path / "locked.pem"
    key.write_bytes(private_pem(private_key(), b"secret"))
    words = ("publish", str(folder), "--name", "acme/m", "--oms-key", str(key), "--json")
    for passphrase, status in (("", 3), ("guess", 3), ("secret", 0)):
        done = weightshare(home, *words, more={"WEIGHTSHARE_KEY_PASSPHRASE": passphrase})
        assert done.returncode == status, done.stderr
        assert (folder / "model.sig").exists() == (status == 0)


def test_other_keys_are_refused(home: Path, tmp_path: Path) -> None:
    folder = place(tmp_path / "m", tiny())
    ours = home / "weightshare" / "keys" / "acme"
    for key in (ours, tmp_path / "absent", key_files(tmp_path)[1]):
        words = ("publish", str(folder), "--name", "acme/m", "--oms-key", str(key))
        assert result(home, *words, status=3)["error"] == "key_file"
    assert not (folder / "model.sig").exists()


def test_a_folder_that_may_not_be_written_to_is_refused_before_hashing(home: Path, tmp_path: Path) -> None:
    folder = place(tmp_path / "m", tiny())
    folder.chmod(0o555)
    try:
        with pytest.raises(DiskError, match=r"model\.sig cannot be put into") as caught:
            publish_here(
                folder,
                "acme/m",
                oms_key=key_files(tmp_path)[0],
                home=Home(home / "weightshare"),
                observe=lambda progress: pytest.fail(f"hashed {progress.total} bytes"),
            )
    finally:
        folder.chmod(0o755)
    assert caught.value.exit_code == 6


@pytest.mark.parametrize(
    ("files", "error"),
    [
        (tiny() | {"Model.sig": b""}, "unsafe_name"),
        (tiny() | {"model.sig/x": b""}, "unsafe_name"),
        ({"model.sig": b"", ".gitattributes": b""}, "checkpoint"),
    ],
)
def test_where_no_signature_can_be(home: Path, tmp_path: Path, files: dict[str, bytes], error: str) -> None:
    folder = place(tmp_path / "m", files)
    words = ("publish", str(folder), "--name", "acme/m", "--oms-key", str(key_files(tmp_path)[0]))
    done = weightshare(home, *words, "--json")
    assert json.loads(done.stdout)["error"] == error
    assert not (folder / MANIFEST_NAME).exists()


def test_a_release_that_the_gate_refuses_leaves_no_signature(home: Path, tmp_path: Path) -> None:
    folder = place(tmp_path / "m", tiny())
    result(home, "trust", "add", "acme", "SHA256:" + "A" * 43)
    words = ("publish", str(folder), "--name", "acme/m", "--oms-key", str(key_files(tmp_path)[0]))
    assert result(home, *words, status=3)["error"] == "changed_publisher"
    assert not (folder / "model.sig").exists()


def test_links_are_signed_as_the_files_they_become(home: Path, tmp_path: Path) -> None:
    private, public = key_files(tmp_path)
    folder = place(tmp_path / "m", tiny())
    (folder / "again.json").symlink_to("config.json")
    made = publish(home, folder, "--oms-key", str(private))
    assert "again.json" in resources(folder)
    assert any("some are links" in warning for warning in made.facts["warnings"])
    words = ("verify", str(folder), "--oms", "model.sig", "--oms-key", str(public))
    found = result(home, *words, status=4)
    assert [file["problem"] for file in found["files"] if not file["ok"]] == ["not a regular file"]


def test_the_v1_twin_serves_every_file_from_where_it_lies(home: Path, tmp_path: Path) -> None:
    """The signature is made last and comes late in the twin, but early in the tree."""
    private, _ = key_files(tmp_path)
    folder = place(tmp_path / "m", tiny() | {"tokenizer.json": b"{}", "zz/last.txt": b"the end"})
    made = publish(home, folder, "--oms-key", str(private), "--v1-twin")
    got = tmp_path / "got"
    with seeding(home) as seeder:
        fetch_plainly(made.facts["v1_twin"], str(got), seeder.peer)
    assert contents(got / made.facts["release"].partition("/")[2].partition("@")[0]) == contents(folder)
