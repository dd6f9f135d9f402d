"""`trust add` and `trust export` on the command line: accounts, files of several keys, what ssh-keygen gets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.helpers import ok, result, weightshare
from tests.cli.test_process import on_terminal, posix
from tests.https_server import Page, Site, https_site
from tests.unit.api.test_key_sources import API, KEYS, ONE, RSA, SK, THREE, TWO, bare, listed, signing

KEYLESS = "SHA256:" + "A" * 43


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    (tmp_path / "site").mkdir()
    with https_site(tmp_path / "site") as running:
        running.pages |= {KEYS: Page(listed(bare(1), RSA)), API: Page(signing(bare(2)))}
        yield running


def gh(site: Site) -> dict[str, str]:
    return {"GH_HOST": site.host, "SSL_CERT_FILE": str(site.certificate)}


def test_an_account_is_pinned_and_what_does_not_serve_is_named(tmp_path: Path, site: Site) -> None:
    done = weightshare(tmp_path, "trust", "add", "acme", "github:acme", more=gh(site))
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode().splitlines() == [f"acme  {ONE.fingerprint}", f"acme  {TWO.fingerprint}"]
    assert "RSA" in done.stderr.decode()
    listing = result(tmp_path, "trust", "list")["publishers"]
    assert {pin["via"] for pin in listing} == {f"github:acme@{site.host}"}
    assert ok(tmp_path, "trust", "list").count("acme ") == 2

    del site.pages[API]
    done = weightshare(tmp_path, "trust", "add", "acme", "github:acme", more=gh(site))
    assert done.returncode == 3
    assert b"another set of keys" in done.stderr
    assert TWO.fingerprint.encode() in done.stderr
    done = weightshare(tmp_path, "trust", "add", "acme", "github:acme", "--replace", "--json", more=gh(site))
    assert done.returncode == 0
    assert b'"fingerprint": "' + ONE.fingerprint.encode() in done.stdout
    assert b"(404)" in done.stdout


def test_as_json(tmp_path: Path) -> None:
    (tmp_path / "acme.json").write_bytes(signing(bare(1), SK, bare(2)))
    words = ("trust", "add", "acme", "github:acme", "--from", "acme.json")
    added = result(tmp_path, *words)
    assert (added["name"], [pin["fingerprint"] for pin in added["pins"]]) == (
        "acme",
        [ONE.fingerprint, TWO.fingerprint],
    )
    assert "security device" in added["skipped"][0]
    assert added["pins"][0]["via"] == "github:acme"
    one = result(tmp_path, "trust", "add", "two", ".keys", status=2)
    assert one["error"] == "usage"
    narrowed = result(tmp_path, *words, "--only", TWO.fingerprint, "--replace")
    assert narrowed["fingerprint"] == TWO.fingerprint
    assert len(narrowed["pins"]) == 1
    assert result(tmp_path, *words, "--only", THREE.fingerprint, status=3)["error"] == "key_file"


def test_a_file_of_several_keys(tmp_path: Path) -> None:
    (tmp_path / "KEY.pub").write_bytes(listed(f"{bare(1)} me@laptop", RSA, f"{bare(2)} me@desk"))
    done = weightshare(tmp_path, "trust", "add", "acme", "KEY.pub", "--models", "acme/*")
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.count(b"acme  SHA256:") == 2
    assert b"RSA" in done.stderr


@posix
@pytest.mark.parametrize(("answer", "status"), [(b"y\n", 0), (b"n\n", 3)])
def test_a_terminal_is_asked_once(tmp_path: Path, answer: bytes, status: int) -> None:
    (tmp_path / "acme.keys").write_bytes(listed(bare(1), bare(2)))
    found, shown = on_terminal(
        tmp_path, ["trust", "add", "acme", "github:acme", "--from", "acme.keys"], [answer]
    )
    assert found == status, shown
    assert ONE.fingerprint in shown
    assert TWO.fingerprint in shown
    assert len(result(tmp_path, "trust", "list")["publishers"]) == (2 if status == 0 else 0)


def test_export_says_what_it_leaves_out(tmp_path: Path) -> None:
    home = tmp_path / "weightshare"
    home.mkdir()
    (home / "known_publishers").write_text(
        f'acme namespaces="weightshare" {bare(1)} me@laptop\n'
        f'acme models="acme/*" {bare(2)}\n'
        f"globex {KEYLESS}\n"
        f"@revoked gone {bare(3)}\n"
        f"later {THREE.fingerprint}\n"
        f'cdn namespaces="weightshare-mirror" {bare(4)}\n'
    )
    words = ("trust", "export")
    done = weightshare(tmp_path, *words)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode().splitlines() == [
        f'acme namespaces="weightshare" {bare(1)}',
        f'acme namespaces="weightshare" {bare(2)}',
    ]
    notes = " ".join(done.stderr.decode().split())
    for part in ("globex", "fingerprint alone", "gone", "later", "cdn", "mirror", "revoked", "acme/* only"):
        assert part in notes, part

    done = weightshare(tmp_path, *words, "--out", "a b", "--revoked", "r")
    assert (done.returncode, done.stdout) == (0, b"a b\n")
    assert (tmp_path / "a b").read_text() == ok(tmp_path, *words)
    assert (tmp_path / "r").read_text() == f"{bare(3)}\n"
    facts = result(tmp_path, *words, "--out", "a b")
    assert facts["allowed_signers"] == (tmp_path / "a b").read_text()
    assert facts["revoked"] == [THREE.fingerprint]
    assert [entry["name"] for entry in facts["left_out"]] == ["globex", "gone", "later", "cdn"]
    assert result(tmp_path, *words, "--out", "no/where", status=6)["error"] == "store"


def test_nothing_pinned_exports_nothing(tmp_path: Path) -> None:
    assert ok(tmp_path, "trust", "export") == ""
    assert result(tmp_path, "trust", "export")["allowed_signers"] == ""
