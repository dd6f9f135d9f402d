"""Where public keys come from: files, and the accounts of a real HTTPS server that speaks as GitHub does."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders_releases import signer
from tests.https_server import Page, Site, https_site
from weightshare.api import key_sources, pinning
from weightshare.api.key_sources import FoundKeys, checked_user, keys_in_file, keys_on_github
from weightshare.content.home import Home
from weightshare.errors import DownloadError, KeyFileError, PinError, UsageError
from weightshare.swarm.networks import Network
from weightshare.trust.keys import PublicKey
from weightshare.trust.post_quantum import PostQuantumKey
from weightshare.trust.publishers import KnownPublishers
from weightshare.trust.wire import string


def bare(seed: int) -> str:
    """A key as GitHub lists it: without a comment."""
    return PublicKey(signer(seed).public_key.raw).openssh


def line(kind: str, *fields: bytes, said: str = "") -> str:
    wire = string(kind.encode()) + b"".join(string(field) for field in fields)
    return f"{said or kind} {base64.b64encode(wire).decode()}"


ONE, TWO, THREE = (signer(seed).public_key for seed in (1, 2, 3))
RSA = line("ssh-rsa", b"\1\0\1", b"\0\xff")
ECDSA = line("ecdsa-sha2-nistp256", b"nistp256", b"\4")
SK = line("sk-ssh-ed25519@openssh.com", ONE.raw, b"ssh:")
RELABELLED = line("sk-ssh-ed25519@openssh.com", ONE.raw, b"ssh:", said="ssh-ed25519")
SMALL = line("ssh-ed25519", (1).to_bytes(32, "little"))
OTHERS = {
    RSA: "RSA",
    ECDSA: "ECDSA",
    SK: "security device",
    RELABELLED: "security device",
    SMALL: "small order",
}


def listed(*lines: str) -> bytes:
    """The `.keys` page."""
    return "".join(f"{line}\n" for line in lines).encode()


def signing(*lines: str) -> bytes:
    """The answer of `GET /users/USER/ssh_signing_keys`."""
    entries = [
        {"id": number, "key": line, "title": "laptop", "created_at": "2026-01-01T00:00:00Z"}
        for number, line in enumerate(lines)
    ]
    return json.dumps(entries).encode()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with https_site(tmp_path) as running:
        monkeypatch.setenv("SSL_CERT_FILE", str(running.certificate))
        monkeypatch.setenv("GH_HOST", running.host)
        yield running


KEYS, API = "/acme.keys", "/api/v3/users/acme/ssh_signing_keys"


def found(user: str = "acme") -> FoundKeys:
    return keys_on_github(user, Network.LOCAL)


# ---- accounts


def test_both_lists_are_read_and_each_key_is_taken_once(site: Site) -> None:
    site.pages |= {KEYS: Page(listed(bare(1), RSA, bare(2))), API: Page(signing(bare(2), bare(3), RSA))}
    answer = found()
    assert answer.keys == (ONE, TWO, THREE)
    (skipped,) = answer.skipped
    assert "RSA" in skipped
    assert answer.notes == ()
    assert site.asked == [KEYS, API]


@pytest.mark.parametrize("there", [KEYS, API])
def test_one_list_may_be_missing_and_that_is_said(site: Site, there: str) -> None:
    site.pages[there] = Page(listed(bare(1)) if there == KEYS else signing(bare(1)))
    answer = found()
    assert answer.keys == (ONE,)
    (note,) = answer.notes
    assert "404" in note
    assert ({KEYS, API} - {there}).pop() in note


def test_an_account_that_is_not_there(site: Site) -> None:
    with pytest.raises(KeyFileError, match="no account 'acme'") as caught:
        found()
    assert caught.value.exit_code == 3


def test_an_account_without_a_key_that_serves(site: Site) -> None:
    site.pages |= {KEYS: Page(listed(*OTHERS)), API: Page(signing())}
    with pytest.raises(KeyFileError, match="no Ed25519 key that could be pinned") as caught:
        found()
    for reason in OTHERS.values():
        assert reason in caught.value.message
    assert caught.value.exit_code == 3
    site.pages[KEYS] = Page(b"\n")
    with pytest.raises(KeyFileError, match="no Ed25519 key"):
        found()


HTML = b"<!DOCTYPE html>\n<html><title>Sign in</title></html>\n"
REFUSED: dict[str, tuple[str, Page, type[Exception], str]] = {
    "html": (KEYS, Page(HTML), KeyFileError, "no list of public keys: '<!DOCTYPE"),
    "html for json": (API, Page(HTML), KeyFileError, "no list of public keys"),
    "not text": (KEYS, Page(b"\xff\xfe"), KeyFileError, "not text"),
    "escape": (KEYS, Page(b"\x1b[2J"), KeyFileError, "no list of public keys"),
    "login form in the list": (KEYS, Page(listed(bare(1)) + HTML), KeyFileError, "no list of public keys"),
    "an object": (API, Page(b'{"message": "x"}'), KeyFileError, "no list of public keys"),
    "numbers": (API, Page(b"[1]"), KeyFileError, "lacks the text `key`"),
    "no key": (API, Page(b'[{"id": 1}]'), KeyFileError, "lacks the text `key`"),
    "key twice": (API, Page(b'[{"key": "a", "key": "b"}]'), KeyFileError, "no list of public keys"),
    "deep": (API, Page(b"[" * 100_000), KeyFileError, "no list of public keys"),
    "many": (KEYS, Page(listed(*[bare(1)] * 501)), KeyFileError, "lists 501 keys"),
    "huge": (KEYS, Page(b"#" * 300_000), DownloadError, "larger than"),
    "limited": (API, Page(b"", 403), DownloadError, "403"),
    "broken": (KEYS, Page(b"", 500), DownloadError, "500"),
    "elsewhere": (
        KEYS,
        Page(b"", 302, "https://example.org/acme.keys"),
        DownloadError,
        "outside the network",
    ),
    "without TLS": (KEYS, Page(b"", 301, "http://localhost/acme.keys"), DownloadError, "another place"),
    "other port": (KEYS, Page(b"", 301, "https://localhost:1/acme.keys"), DownloadError, "another place"),
    "other name": (KEYS, Page(b"", 301, "https://127.0.0.1/acme.keys"), DownloadError, "another place"),
    "odd port": (
        KEYS,
        Page(b"", 301, "https://localhost:x/acme.keys"),
        DownloadError,
        "could not be fetched",
    ),
    "file": (KEYS, Page(b"", 302, "file:///etc/passwd"), DownloadError, "could not be fetched"),
}


@pytest.mark.parametrize(("path", "page", "kind", "problem"), REFUSED.values(), ids=REFUSED)
def test_other_answers_are_refused(
    site: Site, path: str, page: Page, kind: type[Exception], problem: str
) -> None:
    site.pages |= {KEYS: Page(listed(bare(1))), API: Page(signing(bare(2)))} | {path: page}
    with pytest.raises(kind, match=problem) as caught:
        found()
    assert "\x1b" not in str(caught.value)
    if kind is DownloadError:
        assert "--from" in getattr(caught.value, "hint", "")


def test_a_redirect_on_the_same_host_is_followed(site: Site) -> None:
    site.pages |= {
        KEYS: Page(b"", 301, "/Acme.keys"),
        "/Acme.keys": Page(listed(bare(1))),
        API: Page(signing()),
    }
    assert found().keys == (ONE,)


def test_a_host_without_a_good_certificate_is_not_believed(
    site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    site.pages |= {KEYS: Page(listed(bare(1))), API: Page(signing())}
    (tmp_path / "other").mkdir()
    with https_site(tmp_path / "other") as other:
        monkeypatch.setenv("SSL_CERT_FILE", str(other.certificate))
        with pytest.raises(DownloadError, match=r"(?i)certificate"):
            found()
    assert site.asked == []


@pytest.mark.parametrize("network", [Network.LOCAL, Network.LAN])
def test_a_smaller_network_is_kept_to(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GH_HOST", raising=False)
    with pytest.raises(DownloadError, match="outside the network"):
        keys_on_github("acme", network)


@pytest.mark.parametrize(
    ("host", "keys", "api"),
    [
        ("github.com", "https://github.com/acme.keys", "https://api.github.com/users/acme/ssh_signing_keys"),
        (
            "git.acme.example",
            "https://git.acme.example/acme.keys",
            "https://git.acme.example/api/v3/users/acme/",
        ),
        ("acme.ghe.com", "https://acme.ghe.com/acme.keys", "https://api.acme.ghe.com/users/acme/"),
    ],
)
def test_addresses(host: str, keys: str, api: str) -> None:
    first, second = key_sources._addresses(host, "acme")
    assert first == keys
    assert second.startswith(api)


@pytest.mark.parametrize("user", ["a", "acme", "Acme-2", "a-b-c", "x" * 39, "someone_acme"])
def test_names_of_accounts(user: str) -> None:
    assert checked_user(user) == user


@pytest.mark.parametrize(
    "user",
    [
        "",
        "-a",
        "a-",
        "a--b",
        "x" * 40,
        "a/b",
        "..",
        "a.b",
        "a b",
        "é",
        "a\n",
        "a?x",
        "a#",
        "a%2f",
        "a@b",
        "_a",
    ],
)
def test_what_is_no_name_of_an_account(user: str) -> None:
    with pytest.raises(UsageError, match="no GitHub account"):
        checked_user(user)


@pytest.mark.parametrize("host", ["a/b", "a b", "user@host", "host:port", ":80", "-a", "x" * 300, "a\n"])
def test_what_is_no_host(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GH_HOST", f"{host}x" if host.endswith("\n") else host)
    with pytest.raises(UsageError, match="no host"):
        found()


# ---- files


@pytest.mark.parametrize(
    "data", [listed(bare(1), RSA, "", "# mine", bare(2)), signing(bare(1), RSA, bare(2))]
)
def test_a_file_in_either_form(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "keys").write_bytes(data.replace(b"\n", b"\r\n"))
    answer = keys_in_file(tmp_path / "keys")
    assert answer.keys == (ONE, TWO)
    assert len(answer.skipped) == 1
    assert answer.only([TWO.fingerprint, TWO.fingerprint]).keys == (TWO,)
    assert answer.only([]) == answer
    with pytest.raises(KeyFileError, match="not among the keys found"):
        answer.only([THREE.fingerprint])


@pytest.mark.parametrize(
    "text", [*OTHERS, "", "hello", f'command="x" {bare(1)}', "-----BEGIN OPENSSH PRIVATE KEY-----"]
)
def test_files_without_a_key_that_serves(text: str, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(text)
    with pytest.raises(KeyFileError, match=OTHERS.get(text, "no list of public keys|no Ed25519 key")):
        keys_in_file(tmp_path / "keys")
    with pytest.raises(KeyFileError, match="no key at"):
        keys_in_file(tmp_path / "gone")


def test_a_publishers_file_may_hold_a_second_kind_of_key(tmp_path: Path) -> None:
    home, second = Home(tmp_path / "home"), PostQuantumKey(bytes(range(256)) * 5 + bytes(32))
    (tmp_path / "acme.pub").write_bytes(listed(bare(1), second.line))
    (pin,) = pinning.trust_add("acme", str(tmp_path / "acme.pub"), home=home).pins
    assert (pin.key, pin.post_quantum) == (ONE, second.fingerprint)

    (tmp_path / "broken").write_bytes(listed(bare(1), second.line[:-8]))
    with pytest.raises(KeyFileError, match="1,312 bytes"):
        pinning.trust_add("other", str(tmp_path / "broken"), home=home)
    (tmp_path / "two").write_bytes(listed(bare(1), second.line, PostQuantumKey(bytes(1312)).line))
    with pytest.raises(KeyFileError, match="one at most"):
        pinning.trust_add("other", str(tmp_path / "two"), home=home)
    (tmp_path / "several").write_bytes(listed(bare(2), bare(3), second.line))
    with pytest.raises(UsageError, match="belongs to one Ed25519 key"):
        pinning.trust_add("other", str(tmp_path / "several"), home=home)
    narrowed = pinning.trust_add("other", str(tmp_path / "several"), only=(TWO.fingerprint,), home=home)
    assert narrowed.pins[0].post_quantum == second.fingerprint


# ---- pinning


def pinned(home: Home) -> dict[str, set[str]]:
    pins: dict[str, set[str]] = {}
    for pin in KnownPublishers.load(home.known_publishers).pins:
        pins.setdefault(pin.name, set()).add(pin.fingerprint)
    return pins


def test_all_keys_of_an_account_are_pinned_together(tmp_path: Path) -> None:
    home, file = Home(tmp_path / "home"), tmp_path / "acme.keys"

    def add(*words: str, only: tuple[str, ...] = (), replace: bool = False) -> pinning.Added:
        file.write_bytes(listed(*words))
        return pinning.trust_add("acme", "github:acme", saved=file, only=only, replace=replace, home=home)

    added = add(bare(1), bare(2), RSA)
    assert {pin.via for pin in added.pins} == {"github:acme"}
    assert len(added.skipped) == 1
    assert pinned(home) == {"acme": {ONE.fingerprint, TWO.fingerprint}}
    assert add(bare(2), bare(1)).pins
    for other in ((bare(1),), (bare(1), bare(3)), (bare(1), bare(2), bare(3))):
        with pytest.raises(PinError, match="another set of keys") as caught:
            add(*other)
        assert "--replace" in caught.value.hint
    assert pinned(home) == {"acme": {ONE.fingerprint, TWO.fingerprint}}
    assert add(bare(1), bare(2), bare(3), only=(ONE.fingerprint, TWO.fingerprint)).pins
    add(bare(1), bare(3), replace=True)
    assert pinned(home) == {"acme": {ONE.fingerprint, THREE.fingerprint}}


def test_what_was_seen_of_a_key_is_kept(tmp_path: Path) -> None:
    home, file = Home(tmp_path / "home"), tmp_path / "acme.keys"
    file.write_bytes(listed(bare(1), bare(2)))
    pinning.trust_add("acme", str(file), home=home)
    known = KnownPublishers.load(home.known_publishers).with_highest("acme", "acme/m", 7)
    known.save(home.known_publishers)
    pinning.trust_add("acme", str(file), home=home)
    pins = KnownPublishers.load(home.known_publishers).pins
    assert [dict(pin.highest) for pin in pins] == [{"acme/m": 7}] * 2


def test_a_key_that_is_revoked_or_somebody_elses_stops_all_of_them(tmp_path: Path) -> None:
    home, file = Home(tmp_path / "home"), tmp_path / "keys"
    home.path.mkdir()
    file.write_bytes(listed(bare(1), bare(2)))
    for before, problem in ((f"@revoked {bare(2)}\n", "revoked"), (f"globex {bare(2)}\n", "name globex")):
        home.known_publishers.write_text(before)
        with pytest.raises(PinError, match=problem):
            pinning.trust_add("acme", str(file), home=home)
        assert "acme" not in pinned(home)


def test_a_no_pins_nothing(tmp_path: Path) -> None:
    home, file = Home(tmp_path / "home"), tmp_path / "acme.keys"
    file.write_bytes(listed(bare(1), bare(2)))
    shown: list[FoundKeys] = []

    def no(keys: FoundKeys) -> bool:
        shown.append(keys)
        return False

    with pytest.raises(PinError, match="Nothing was pinned"):
        pinning.trust_add("acme", "github:acme", saved=file, confirm=no, home=home)
    assert [keys.keys for keys in shown] == [(ONE, TWO)]
    assert pinned(home) == {}
    # A file or a fingerprint was chosen by the user; nobody asks again.
    assert pinning.trust_add("acme", str(file), confirm=no, home=home).pins


def test_options_that_do_not_go_together(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    with pytest.raises(UsageError, match="--from goes with"):
        pinning.trust_add("acme", ONE.fingerprint, saved=tmp_path, home=home)
    with pytest.raises(UsageError, match="--only chooses"):
        pinning.trust_add("acme", ONE.fingerprint, only=(ONE.fingerprint,), home=home)
    with pytest.raises(UsageError, match="no GitHub account"):
        pinning.trust_add("acme", "github:../../x", home=home)


def test_a_mirror_is_one_key_of_a_file_or_an_account(tmp_path: Path) -> None:
    home, file = Home(tmp_path / "home"), tmp_path / "cdn.keys"
    file.write_bytes(listed(bare(1), bare(2)))
    with pytest.raises(UsageError, match="A mirror is one Ed25519 key"):
        pinning.trust_add("cdn", "github:cdn", saved=file, mirror=True, home=home)
    (pin,) = pinning.trust_add(
        "cdn", "github:cdn", saved=file, only=(TWO.fingerprint,), mirror=True, home=home
    ).pins
    assert (pin.key, pin.mirrors, pin.publishes) == (TWO, True, False)
    assert pinning.trust_add("cdn", bare(2), home=home).pins[0].namespaces == (
        "weightshare",
        "weightshare-mirror",
    )


def test_a_key_written_out(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    assert pinning.trust_add("acme", bare(1), home=home).pins[0].key == ONE
    for text, reason in OTHERS.items():
        with pytest.raises(KeyFileError, match=reason):
            pinning.trust_add("other", text, home=home)
