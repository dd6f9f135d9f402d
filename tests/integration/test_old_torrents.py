"""Torrents that others made: adopted and proven, taken unsigned, and what must not get through."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file

from tests.builders_checkpoints import contents, digest, place, shard
from tests.builders_metainfo import hashed_all
from tests.builders_native import native_tensors, params_of, write_native
from tests.builders_v1 import files_of, info_hash, magnet, single_info, torrent_file, v1_info
from tests.cli.helpers import ROOT, result
from tests.cli.inside import Inside
from tests.integration.plain_seeder import plain_seeder
from tests.integration.running import Running, seeding
from tests.integration.test_run_mistral import shipped
from tests.integration.waiting import until
from weightshare.content.store import STAGING
from weightshare.manifest.envelope import Envelope
from weightshare.manifest.metainfo import build_info, build_torrent
from weightshare.manifest.model import MANIFEST_NAME
from weightshare.manifest.statement import parse
from weightshare.trust.keys import FileSigner
from weightshare.trust.signing import sign

FILES = {
    "consolidated.00.pth": bytes(range(256)) * 1200,
    "params.json": b'{"dim": 32}',
    "tokenizer.model": b"not really",
    "RELEASE": b"by nobody\n",
}


Run = Callable[..., dict[str, Any]]


class Old:
    """A torrent that somebody made once, and those who deal with it, each with a home of their own."""

    def __init__(
        self, run: Run, folder: Path, info: dict[str, Any] | None = None, files: dict[str, bytes] = FILES
    ) -> None:
        self.run = run
        self.around = folder
        self.name = "mistral-7B-v0.1"
        self.files = place(folder / self.name, files)
        self.info = info or v1_info(self.name, files_of(self.files))
        self.torrent = torrent_file(folder / "old.torrent", self.info)
        self.magnet = magnet(self.info)

    def home(self, name: str) -> Path:
        home = self.around / name
        home.mkdir(exist_ok=True)
        return home

    def adopt(
        self, *words: str, status: int = 0, source: str = "", folder: Path | None = None
    ) -> dict[str, Any]:
        home = self.home("signer")
        if not (home / "weightshare" / "keys").exists():
            self.run(home, "keys", "new", "acme")
        what = str(folder or self.files), "--adopt", source or str(self.torrent)
        return self.run(home, "publish", *what, "--name", "acme/m7b", "--allow-pickle", *words, status=status)


def left_behind(folder: Path, named: str) -> Path:
    """A staging folder as a process leaves it that is killed just before it would have removed it."""
    staged = folder / STAGING / named[:16]
    staged.mkdir(parents=True)
    staged.with_name(f"{staged.name}.lock").write_text("1")
    (staged / "left").write_bytes(b"")
    return staged


def native(folder: Path) -> tuple[Path, Any]:
    """A model in Mistral's own layout, as its torrents had it, and the model."""
    config = transformers.MistralConfig(
        **{"vocab_size": 32000, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1},
        **{"num_attention_heads": 2, "num_key_value_heads": 1},
        rope_parameters={"rope_type": "default", "rope_theta": 1e4},
    )
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model: Any = transformers.MistralForCausalLM(config).to(torch.bfloat16)
    model.save_pretrained(folder / "plain")
    tensors = native_tensors(load_file(folder / "plain" / "model.safetensors"), config)
    made = write_native(folder / "mistral-7B-v0.1", tensors, params_of(config), "pth")
    shutil.copyfile(shipped("tokenizer.model.v1"), made / "tokenizer.model")
    (made / "RELEASE").write_text("a release of 2023\n")
    return made, model


def test_a_native_torrent_is_adopted_fetched_proven_and_run(tmp_path: Path) -> None:
    folder, _ = native(tmp_path)
    files = files_of(folder, ["RELEASE", "consolidated.00.pth"])
    old = Old(result, tmp_path, v1_info(folder.name, files), files)
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    made = old.adopt("--out", str(tmp_path / "post"), "--license", "Apache-2.0")
    assert made["info_hash_v1"] == info_hash(old.info)
    assert "vouches for these bytes" in made["warnings"][0]
    assert f"xt=urn:btih:{made['info_hash_v1']}" in made["magnet"]
    assert "x.wsk=" in made["magnet"]
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before

    serve = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "post"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), serve)
    Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/{old.name}.{MANIFEST_NAME}"
    home = old.home("user")
    with plain_seeder(old.torrent, tmp_path) as peer:
        words = "--manifest", url, "--peer", peer, "--trust", made["publisher"]
        error = result(home, "fetch", made["magnet"], *words, status=8)
        assert "--allow-pickle" in error["hint"]
        assert not list(home.rglob("consolidated*"))
        fetched = result(home, "fetch", made["magnet"], *words, "--allow-pickle")
    server.shutdown()
    server.server_close()
    assert (fetched["info_hash_v1"], fetched["info_hash_v2"]) == (made["info_hash_v1"], None)
    assert fetched["release"] == "acme/m7b@1"
    place_of = Path(fetched["path"])
    assert contents(place_of) == contents(folder)
    assert not (place_of / STAGING).exists()
    assert result(home, "verify", "acme/m7b")["ok"]
    listed = result(home, "ls")
    assert [one["kind"] for one in listed["releases"]] == ["fetched"]
    assert "unsigned" not in listed

    said = "run", "acme/m7b", "Hello", "--device", "cpu", "--max-new-tokens", "3", "--allow-pickle"
    answer = result(home, *said)
    assert answer["tokens"] == 3

    # Its own swarm gets it back, by whatever client: the info-hash is what it always was.
    with seeding(home, "acme/m7b") as seeder:
        client = [
            sys.executable,
            "-m",
            "tests.integration.plain_client",
            str(old.torrent),
            str(tmp_path / "qb"),
        ]
        subprocess.run([*client, seeder.peer], cwd=ROOT, check=True, timeout=60)
        # And a second signer needs no .torrent: the metadata comes from the swarm.
        other = old.home("other")
        result(other, "keys", "new", "guild")
        again = result(
            *(other, "publish", str(folder), "--name", "guild/m7b", "--allow-pickle"),
            *("--adopt", old.magnet, "--adopt-peer", seeder.peer),
        )
    assert contents(tmp_path / "qb" / old.name) == contents(folder)
    assert again["info_hash_v1"] == made["info_hash_v1"]
    assert again["publisher"] != made["publisher"]

    # Another byte on the disk is found, by file and piece.
    weights = place_of / "consolidated.00.pth"
    weights.chmod(0o644)
    with weights.open("r+b") as file:
        file.seek(70_000)
        file.write(b"\xff\x00\xff\x00")
    verdict = result(home, "verify", "acme/m7b", status=4)
    assert [(file["path"], file["bad_pieces"]) for file in verdict["files"] if not file["ok"]] == [
        ("consolidated.00.pth", [2])
    ]
    with plain_seeder(old.torrent, tmp_path) as peer:
        assert result(home, "verify", "acme/m7b", "--repair", "--peer", peer)["ok"]


def test_other_shapes_of_v1_torrents_are_adopted_too(tmp_path: Path, inside: Inside) -> None:
    odd = v1_info("mistral-7B-v0.1", FILES, piece=48_000)
    padded = v1_info("mistral-7B-v0.1", FILES, pads=True)
    for number, info in enumerate((odd, padded, single_info("sd-v1-4.ckpt", FILES["consolidated.00.pth"]))):
        folder = tmp_path / str(number)
        folder.mkdir()
        old = Old(inside, folder, info)
        single = "length" in info
        if single:
            place(folder, {"sd-v1-4.ckpt": FILES["consolidated.00.pth"]})
        made = old.adopt(folder=folder if single else None)
        words = "--manifest", made["manifest"], "--allow-pickle", "--trust", made["publisher"]
        with plain_seeder(old.torrent, folder) as peer:
            fetched = inside(
                old.home("user"), "fetch", old.magnet, str(folder / "here"), *words, "--peer", peer
            )
        expected = {"sd-v1-4.ckpt": digest(folder / "sd-v1-4.ckpt")} if single else contents(old.files)
        assert contents(Path(fetched["path"])) == expected


def test_an_unsigned_torrent_is_kept_apart_and_says_so_everywhere(tmp_path: Path, inside: Inside) -> None:
    old, home = Old(inside, tmp_path), tmp_path / "user"
    home.mkdir()
    for source in (old.magnet, str(old.torrent)):
        error = inside(home, "fetch", source, status=3)
        assert error["error"] == "unsigned"
        assert "--unsigned" in error["hint"]
        assert "--manifest" in error["hint"]
    with plain_seeder(old.torrent, tmp_path) as peer:
        words = "fetch", old.magnet, "--unsigned", "--peer", peer
        assert inside(home, *words, status=8)["error"] == "pickle"
        assert not list(home.rglob("*.pth"))
        fetched = inside(home, *words, "--allow-pickle")
    folder = Path(fetched["path"])
    assert fetched["unsigned"] is True
    assert "nobody signed" in fetched["warnings"][0]
    assert {file["path"]: file["sha256"] for file in fetched["files"]} == contents(old.files)
    assert contents(folder) == contents(old.files)
    kept = home / "weightshare" / "unsigned" / info_hash(old.info)
    assert folder == kept / "files"
    checked = subprocess.run(["sha256sum", "-c", str(kept / "SHA256SUMS")], cwd=folder, capture_output=True)
    assert checked.returncode == 0, checked.stdout
    assert not (home / "weightshare" / "releases").exists()

    ended, out, err = inside.words(home, "fetch", old.magnet, "--unsigned", "--allow-pickle")
    assert (ended, out.strip()) == (0, str(folder))
    assert "nobody signed" in err
    assert "none of it proven" in err
    assert "nobody vouches" in inside.words(home, "ls")[1]
    assert inside(home, "ls")["releases"] == []
    assert [one["unsigned"] for one in inside(home, "ls")["unsigned"]] == [True]
    for verb in ("run", "seed", "inspect"):
        error = inside(home, verb, old.name, *(["hello"] if verb == "run" else []), status=3)
        assert error["error"] == "unsigned", verb
    assert inside(home, "run", str(folder), "hello", status=3)["error"] == "unsigned"

    with seeding(home, old.name, "--unsigned") as seeder:
        assert seeder.listening["releases"] == [f"{old.name} (unsigned)"]
        client = [
            sys.executable,
            "-m",
            "tests.integration.plain_client",
            str(old.torrent),
            str(tmp_path / "qb"),
        ]
        subprocess.run([*client, seeder.peer], cwd=ROOT, check=True, timeout=60)
    assert contents(tmp_path / "qb" / old.name) == contents(old.files)

    verdict = inside(home, "verify", old.name)
    assert (verdict["ok"], verdict["unsigned"]) == (True, True)
    (folder / "params.json").chmod(0o644)
    (folder / "params.json").write_bytes(b'{"dim": 64}')
    verdict = inside(home, "verify", old.name, status=4)
    assert list(verdict["bad"]) == ["params.json"]
    assert inside(home, "seed", old.name, "--unsigned", status=4)["path"] == "params.json"
    assert inside(home, "rm", old.name)["unsigned"] is True
    assert not kept.exists()


def test_bytes_that_the_swarm_vouches_for_and_the_signer_does_not_get_no_name(
    tmp_path: Path, inside: Inside
) -> None:
    old, home = Old(inside, tmp_path), tmp_path / "user"
    home.mkdir()
    made = old.adopt()
    # A manifest for the same torrent, the same files and sizes, and another digest of one of them.
    envelope = Envelope.parse(Path(made["manifest"]).read_bytes())
    honest = parse(envelope.payload)
    files = tuple(replace(f, sha256=bytes(32)) if f.path == "params.json" else f for f in honest.files)
    signer = FileSigner.load(next((old.home("signer") / "weightshare" / "keys").glob("*[!b]")))
    other = tmp_path / "other.json"
    other.write_bytes(sign(replace(honest, files=files), signer).to_bytes())
    trust = "--trust", made["publisher"], "--allow-pickle"
    with plain_seeder(old.torrent, tmp_path) as peer:
        words = "fetch", old.magnet, str(tmp_path / "here"), "--peer", peer, *trust
        error = inside(home, *words, "--manifest", str(other), status=4)
        assert (error["error"], error["path"]) == ("corrupt", "params.json")
        assert "other bytes" in error["message"]
        assert not [path for path in (tmp_path / "here").iterdir() if path.name != STAGING]
        assert inside(home, "run", "acme/m7b", "hello", "--allow-pickle", status=4)
        # By the honest manifest only the file that was thrown away comes again.
        fetched = inside(home, *words, "--manifest", made["manifest"])
    assert fetched["received"]["swarm"] < 100_000
    assert contents(tmp_path / "here") == contents(old.files)


def test_a_manifest_of_another_torrent_or_by_a_stranger_is_refused(tmp_path: Path, inside: Inside) -> None:
    old, home = Old(inside, tmp_path), tmp_path / "user"
    home.mkdir()
    made = old.adopt()
    manifest = "--manifest", made["manifest"], "--allow-pickle"
    other = f"magnet:?xt=urn:btih:{'ab' * 20}"
    assert inside(home, "fetch", old.magnet, *manifest, status=3)["error"] == "unknown_publisher"
    trust = "--trust", made["publisher"]
    error = inside(home, "fetch", other, *manifest, *trust, status=4)
    assert error["error"] == "tree_mismatch"
    assert info_hash(old.info) in error["message"]
    wrong = f"{old.magnet}&x.wsk={'A' * 43}"
    assert inside(home, "fetch", wrong, *manifest, *trust, status=3)["error"] == "publisher_mismatch"
    error = inside(home, "fetch", str(old.torrent), "--manifest", str(old.torrent), status=4)
    assert error["error"] == "manifest"
    # Inside a torrent of its own, as a release, it is nothing either.
    shutil.copytree(old.files, tmp_path / "copy")
    shutil.copyfile(made["manifest"], tmp_path / "copy" / MANIFEST_NAME)
    inside(home, "seed", str(tmp_path / "copy"), *trust, status=6)
    assert inside(home, "verify", str(tmp_path / "copy"), *trust)["ok"]
    assert not (home / "weightshare" / "models").exists()


EVIL = {
    "upwards": ["..", "..", "evil.json"],
    "case twins": ["PARAMS.json"],
    "a device": ["nul"],
    "a slash": ["../evil.json"],
}


@pytest.mark.parametrize("what", EVIL)
def test_unsafe_names_are_refused_before_anything_is_written(
    tmp_path: Path, inside: Inside, what: str
) -> None:
    info = v1_info("mistral-7B-v0.1", FILES)
    info["files"][0]["path"] = EVIL[what]
    torrent = torrent_file(tmp_path / "evil.torrent", info)
    home = tmp_path / "home"
    home.mkdir()
    words = "fetch", str(torrent), str(tmp_path / "here"), "--unsigned", "--allow-pickle"
    assert inside(home, *words, status=4)["error"] == "unsafe_path"
    assert not (tmp_path / "here").exists()
    assert not list(tmp_path.rglob("evil.json"))


def test_a_folder_that_is_not_the_torrents_is_not_signed_for(tmp_path: Path, inside: Inside) -> None:
    old = Old(inside, tmp_path)
    data = bytearray(FILES["consolidated.00.pth"])
    data[100_000] ^= 1
    (old.files / "consolidated.00.pth").write_bytes(data)
    error = old.adopt(status=4)
    assert (error["error"], error["path"], error["pieces"]) == ("corrupt", "consolidated.00.pth", [3])
    (old.files / "RELEASE").unlink()
    error = old.adopt(status=4)
    assert "RELEASE (missing)" in error["message"]
    assert not (old.home("signer") / "weightshare" / "releases").exists()


def test_a_fetch_that_was_killed_goes_on(tmp_path: Path) -> None:
    files = {"consolidated.00.pth": bytes(range(256)) * 12_000, "params.json": b"{}"}
    old = Old(result, tmp_path, v1_info("mistral-7B-v0.1", files), files)
    made = old.adopt()
    home, here = old.home("user"), tmp_path / "here"
    trust = "--allow-pickle", "--trust", made["publisher"]
    words = "fetch", old.magnet, str(here), "--manifest", made["manifest"], *trust
    with plain_seeder(old.torrent, tmp_path) as peer:
        slow = Running(home, *words, "--peer", peer, "--max-down", "1M", "--json")
        with slow:

            def arrived() -> bool:
                return any(
                    path.stat().st_blocks * 512 > 1_000_000
                    for path in here.rglob("consolidated.00.pth")
                    if path.is_file()
                )

            until(arrived, "a third of it")
            slow.send(signal.SIGKILL)
            slow.end()
        assert [path.name for path in here.iterdir()] == [STAGING]
        fetched = result(home, *words, "--peer", peer)
    assert fetched["received"]["swarm"] < fetched["bytes"] - 500_000
    assert contents(here) == contents(old.files)
    left_behind(here, info_hash(old.info))
    assert result(home, *words)["received"]["swarm"] == 0
    assert contents(here) == contents(old.files)


def test_an_unsigned_fetch_that_was_killed_while_it_gave_names_goes_on(
    tmp_path: Path, inside: Inside
) -> None:
    files = {"consolidated.safetensors": shard(100_000, 1), "params.json": b"{}", "empty": b""}
    old = Old(inside, tmp_path, v1_info("mistral-7B-v0.1", files), files)
    home, here = old.home("user"), tmp_path / "here"
    words = "fetch", old.magnet, str(here), "--unsigned"
    with plain_seeder(old.torrent, tmp_path) as peer:
        inside(home, *words, "--peer", peer)
    staged = left_behind(here, info_hash(old.info))
    (here / "params.json").rename(staged / "params.json")
    (here / "params.json").write_bytes(b"somebody's own")
    assert inside(home, *words, status=6)["paths"] == ["params.json"]
    (here / "params.json").unlink()
    inside(home, *words)
    assert contents(here) == contents(old.files)


def test_options_that_do_not_go_together_are_told(tmp_path: Path, inside: Inside) -> None:
    link = f"magnet:?xt=urn:btih:{'ab' * 20}"
    for words in (
        ("fetch", link, "--unsigned", "--manifest", "x.json"),
        ("fetch", link, "--unsigned", "--run"),
        ("fetch", link, "--unsigned", "--trust", "SHA256:" + "A" * 43),
        ("fetch", link, "--manifest", "x.json", "--include", "*.json"),
        ("publish", str(tmp_path), "--name", "a/b", "--adopt", link, "--piece-length", "1M"),
    ):
        assert inside(tmp_path, *words, status=2)["error"] == "usage", words


def test_a_mangled_link_is_repaired_and_says_so(tmp_path: Path, inside: Inside) -> None:
    old, home = Old(inside, tmp_path), tmp_path / "user"
    home.mkdir()
    posted = old.magnet.removeprefix("magnet:?") + "&tr=udp%3A%2F%http://2Ftracker.example%3A6969%2Fannounce"
    with plain_seeder(old.torrent, tmp_path) as peer:
        fetched = inside(home, "fetch", posted, "--unsigned", "--allow-pickle", "--peer", peer)
    assert contents(Path(fetched["path"])) == contents(old.files)
    assert len(fetched["warnings"]) > 1
    record = json.loads(
        (home / "weightshare" / "unsigned" / info_hash(old.info) / "record.json").read_bytes()
    )
    assert record["trackers"] == ["udp://tracker.example:6969/announce"]


@pytest.mark.parametrize("hybrid", [False, True], ids=["v2", "hybrid"])
def test_a_newer_torrent_without_a_manifest_is_taken_unsigned_too(
    tmp_path: Path, inside: Inside, hybrid: bool
) -> None:
    hashes = hashed_all(dict(sorted(FILES.items())), 32 * 1024, hybrid=hybrid)
    raw = build_info("m7b", 32 * 1024, hashes, hybrid=hybrid)
    torrent = tmp_path / "m7b.torrent"
    torrent.write_bytes(build_torrent(raw, hashes))
    place(tmp_path / "m7b", FILES)
    home = tmp_path / "home"
    home.mkdir()
    link = f"magnet:?xt=urn:btmh:1220{hashlib.sha256(raw).hexdigest()}"
    with plain_seeder(torrent, tmp_path) as peer:
        assert inside(home, "fetch", link, "--peer", peer, status=3)["error"] == "unsigned"
        fetched = inside(home, "fetch", link, "--unsigned", "--allow-pickle", "--peer", peer)
    assert fetched["info_hash"] == hashlib.sha256(raw).hexdigest()
    assert contents(Path(fetched["path"])) == contents(tmp_path / "m7b")
    with seeding(home, "--unsigned") as seeder:
        again = inside(home, "fetch", str(torrent), "--unsigned", "--allow-pickle", "--peer", seeder.peer)
        other = tmp_path / "other"
        other.mkdir()
        got = inside(other, "fetch", link, "--unsigned", "--allow-pickle", "--peer", seeder.peer)
    assert again["received"]["swarm"] == 0
    assert contents(Path(got["path"])) == contents(tmp_path / "m7b")


def test_a_signed_torrent_is_not_taken_unsigned(tmp_path: Path, inside: Inside) -> None:
    folder = place(tmp_path / "model", {"params.json": b"{}"})
    inside(tmp_path, "keys", "new", "acme")
    made = inside(tmp_path, "publish", str(folder), "--name", "acme/m7b")
    error = inside(tmp_path, "fetch", made["torrent"], "--unsigned", status=2)
    assert "it is signed" in error["message"]
    assert inside(tmp_path, "publish", str(folder), "--name", "acme/x", "--adopt", made["torrent"], status=2)


def test_what_was_taken_unsigned_is_proven_where_it_lies(tmp_path: Path, inside: Inside) -> None:
    old, home, here = Old(inside, tmp_path), tmp_path / "user", str(tmp_path / "here")
    home.mkdir()
    with plain_seeder(old.torrent, tmp_path) as peer:
        inside(home, "fetch", old.magnet, here, "--unsigned", "--allow-pickle", "--peer", peer)
    made = old.adopt()
    words = "--manifest", made["manifest"], "--trust", made["publisher"], "--allow-pickle"
    fetched = inside(home, "fetch", str(old.torrent), here, *words)
    assert fetched["received"]["swarm"] == 0
    removed = inside(home, "rm", old.name)
    assert (removed["deleted"], removed["kept"]) == (0, len(FILES))
    assert inside(home, "verify", "acme/m7b")["ok"]
    Path(here, "params.json").chmod(0o644)
    Path(here, "params.json").write_bytes(b'{"dim": 64}')
    assert inside(home, "verify", "acme/m7b", status=4)
