"""A release's life through the command line: publish, seed, fetch, inspect, verify, remove, on loopback."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cli.helpers import COMMAND, environment, ok, result, weightshare
from tests.cli.test_process import on_terminal, posix

SIZE = 300_000


def make_model(folder: Path) -> Path:
    """A checkpoint with one shard, just large enough for several pieces."""
    folder.mkdir(parents=True)
    header = json.dumps({"w": {"dtype": "U8", "shape": [SIZE], "data_offsets": [0, SIZE]}}).encode()
    header += b" " * (-len(header) % 8)
    body = bytes(range(256)) * (SIZE // 256 + 1)
    folder.joinpath("model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + body[:SIZE])
    folder.joinpath("config.json").write_text('{"architectures": ["Nothing"]}')
    folder.joinpath("modèle 1.txt").write_text("words")
    return folder


@contextmanager
def seeding(home: Path, *words: str) -> Iterator[dict[str, Any]]:
    """A seeder, from its listening line to its Ctrl-C, which must be a good end."""
    with subprocess.Popen(
        [*COMMAND, "seed", "--json", "--port", "0", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=home,
        env=environment(home),
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            first = process.stdout.readline()
            if not first:
                raise AssertionError(process.communicate()[1])
            yield json.loads(first)
        finally:
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
        assert process.returncode == 0, err
        assert json.loads(out)["event"] == "stopped"


class Published:
    """A maintainer's home with one release in it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        home.mkdir()
        self.folder = make_model(home / "model")
        self.key = result(home, "keys", "new", "acme")
        self.facts = result(
            home, "publish", "model", "--name", "acme/tiny", "--license", "MIT", "--piece-length", "32K"
        )
        self.magnet = str(self.facts["magnet"])


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    return Published(tmp_path_factory.mktemp("maintainer") / "home")


def test_publish_as_json(published: Published) -> None:
    facts = published.facts
    assert facts["release"] == "acme/tiny@1"
    assert facts["publisher"] == published.key["fingerprint"]
    assert facts["files"] == 3
    assert facts["info_hash_v2"] in published.magnet
    assert Path(str(facts["torrent"])).is_file()
    assert Path(str(facts["manifest"])).is_file()


def test_publish_for_people(tmp_path: Path) -> None:
    make_model(tmp_path / "model")
    ok(tmp_path, "keys", "new", "acme")
    done = weightshare(tmp_path, "publish", "model", "--name", "acme/tiny", "--license", "MIT")
    assert done.returncode == 0, done.stderr.decode()
    lines = done.stdout.decode().splitlines()
    assert lines[0] == "acme/tiny@1"
    assert shlex.split(lines[-1])[0].startswith("magnet:?xt=urn:btmh:1220")
    assert lines[-1].startswith("'")
    assert b"weightshare seed acme/tiny@1" in done.stderr


def test_the_whole_way(published: Published, tmp_path: Path) -> None:
    ok(tmp_path, "trust", "add", "acme", str(published.key["fingerprint"]))
    with seeding(published.home, "acme/tiny@1") as seeder:
        assert seeder["releases"]
        link = f"{published.magnet}&x.pe=127.0.0.1:{seeder['port']}"

        seen = result(tmp_path, "inspect", link)
        assert seen["trusted"] is True
        assert {file["path"] for file in seen["files"]} == {
            "model.safetensors",
            "config.json",
            "modèle 1.txt",
        }
        assert result(tmp_path, "ls") == {"releases": []}

        done = weightshare(tmp_path, "fetch", "-", typed=link.encode())
    assert done.returncode == 0, done.stderr.decode()
    path = Path(done.stdout.decode().splitlines()[-1])
    assert done.stdout.decode().count("\n") == 1
    for file in published.folder.iterdir():
        assert path.joinpath(file.name).read_bytes() == file.read_bytes()
    assert b"every byte proven" in done.stderr

    listed = result(tmp_path, "ls")["releases"]
    assert [(one["release"], one["complete"], one["path"]) for one in listed] == [
        ("acme/tiny@1", True, str(path))
    ]
    assert ok(tmp_path, "verify", "acme/tiny").startswith("ok  acme/tiny@1: 3 files")

    shard = path / "model.safetensors"
    damage(shard, SIZE - 1)
    path.joinpath("config.json").unlink()
    bad = weightshare(tmp_path, "verify", "acme/tiny")
    assert bad.returncode == 4
    text = bad.stdout.decode()
    assert "corrupt" in text
    assert "model.safetensors: piece 9" in text
    assert "missing" in text
    assert "config.json" in text
    assert b"2 files of acme/tiny@1 not as signed" in bad.stderr
    report = result(tmp_path, "verify", "acme/tiny", status=4)
    assert report["ok"] is False
    assert {file["path"]: file["bad_pieces"] for file in report["files"] if not file["ok"]} == {
        "model.safetensors": [9],
        "config.json": [],
    }

    gone = result(tmp_path, "rm", "acme/tiny")
    assert gone["deleted"] >= 2
    assert result(tmp_path, "ls") == {"releases": []}


def damage(path: Path, at: int) -> None:
    """Change one byte of a file that may be read-only."""
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_an_unknown_publisher_is_refused_without_a_terminal(published: Published, tmp_path: Path) -> None:
    with seeding(published.home) as seeder:
        peer = f"127.0.0.1:{seeder['port']}"
        refused = result(tmp_path, "fetch", published.magnet, "--peer", peer, status=3)
        assert refused["error"] == "unknown_publisher"
        assert refused["fingerprint"] == published.key["fingerprint"]
        assert result(tmp_path, "ls") == {"releases": []}

        words = (
            "fetch",
            published.magnet,
            "out",
            "--peer",
            peer,
            "--trust",
            str(published.key["fingerprint"]),
        )
        fetched = result(tmp_path, *words)
    assert fetched["path"] == str(tmp_path / "out")
    assert fetched["received"]["swarm"] == fetched["bytes"]
    assert [pin["fingerprint"] for pin in result(tmp_path, "trust", "list")["publishers"]] == [
        published.key["fingerprint"]
    ]


@posix
@pytest.mark.parametrize(("answer", "status"), [(b"y\n", 0), (b"\n", 3)])
def test_on_a_terminal_a_stranger_is_shown_and_you_are_asked(
    published: Published, tmp_path: Path, answer: bytes, status: int
) -> None:
    with seeding(published.home) as seeder:
        words = ["fetch", published.magnet, "--peer", f"127.0.0.1:{seeder['port']}"]
        ended, screen = on_terminal(tmp_path, words, [answer])
    assert ended == status, screen
    assert str(published.key["fingerprint"]) in screen
    assert "acme/tiny@1" in screen
    assert "Trust this key from now on? [y/N]" in screen
    assert bool(result(tmp_path, "trust", "list")["publishers"]) is (status == 0)


def test_a_fetch_without_peers_ends_in_five(published: Published, tmp_path: Path) -> None:
    failed = result(tmp_path, "fetch", published.magnet, "--timeout", "1", status=5)
    assert failed["hint"]


def test_a_magnet_cut_at_the_ampersand_is_told_to_be_quoted(tmp_path: Path) -> None:
    done = weightshare(tmp_path, "fetch", "magnet:?dn=tiny")
    assert done.returncode == 2
    assert b"quote" in done.stderr.lower()


@posix
def test_publish_and_seed_in_one(tmp_path: Path) -> None:
    make_model(tmp_path / "model")
    ok(tmp_path, "keys", "new", "acme")
    with subprocess.Popen(
        [*COMMAND, "publish", "model", "--name", "acme/tiny", "--seed", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env=environment(tmp_path),
        text=True,
    ) as process:
        assert process.stdout is not None
        events = [json.loads(process.stdout.readline())["event"] for _ in range(2)]
        process.terminate()
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    last = json.loads(out)
    assert [*events, last["event"]] == ["published", "listening", "stopped"]
    assert last["release"] == "acme/tiny@1"


def test_hostile_text_is_escaped(tmp_path: Path) -> None:
    make_model(tmp_path / "model")
    ok(tmp_path, "keys", "new", "acme")
    summary = "nice\x1b[2J\u202emodel"
    done = weightshare(tmp_path, "publish", "model", "--name", "acme/tiny", "--summary", summary)
    if done.returncode:  # refusing it is as good
        assert b"\x1b" not in done.stderr
        return
    shown = ok(tmp_path, "inspect", "acme/tiny")
    assert "nice\\x1b[2J\\u202emodel" in shown
    assert "\x1b" not in shown


def test_pickle_is_refused_and_named(tmp_path: Path) -> None:
    make_model(tmp_path / "model").joinpath("extra.bin").write_bytes(b"\x80\x04.")
    ok(tmp_path, "keys", "new", "acme")
    done = weightshare(tmp_path, "publish", "model", "--name", "acme/tiny")
    assert done.returncode == 8
    assert b"extra.bin" in done.stderr
    assert b"--allow-pickle" in done.stderr


def test_keys_and_pins(tmp_path: Path) -> None:
    key = result(tmp_path, "keys", "new", "acme")
    assert ok(tmp_path, "keys", "show", "acme", "--quiet").startswith("ssh-ed25519 AAAA")
    assert key["fingerprint"] in ok(tmp_path, "keys", "list")
    assert result(tmp_path, "keys", "new", "acme", status=3)["hint"]
    ok(tmp_path, "trust", "add", "acme", str(tmp_path / "weightshare/keys/acme.pub"))
    other = result(tmp_path, "keys", "new", "other")["fingerprint"]
    assert result(tmp_path, "trust", "add", "acme", other, status=3)["error"] == "pin"
    assert result(tmp_path, "trust", "add", "acme", other, "--replace")["fingerprint"] == other
    assert result(tmp_path, "trust", "remove", "acme") == {"name": "acme", "removed": True}
    assert result(tmp_path, "trust", "list") == {"publishers": []}


def test_a_key_with_a_passphrase_signs(tmp_path: Path) -> None:
    make_model(tmp_path / "model")
    secret = {"WEIGHTSHARE_KEY_PASSPHRASE": "pass word"}
    assert weightshare(tmp_path, "keys", "new", "acme", more=secret).returncode == 0
    words = ("publish", "model", "--name", "acme/tiny", "--json")
    without = weightshare(tmp_path, *words)
    assert without.returncode == 3
    assert "WEIGHTSHARE_KEY_PASSPHRASE" in json.loads(without.stdout)["hint"]
    assert weightshare(tmp_path, *words, more=secret).returncode == 0
