from __future__ import annotations

import multiprocessing
import stat
import string
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders_releases import knows, pin, signer
from weightshare.errors import PinError, StoreError
from weightshare.trust.publishers import KnownPublishers, Pin, update

KEY = signer(1).public_key
OTHER = signer(2).public_key

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,8}[a-z]", fullmatch=True)
MODELS = st.builds("{}/{}".format, NAMES, NAMES)
GLOBS = MODELS | st.sampled_from(["*", "acme/*", "a/[bc]?"])
NAMESPACES = [("weightshare",), ("weightshare-mirror",), ("weightshare", "weightshare-mirror")]


@st.composite
def publishers(draw: st.DrawFn) -> KnownPublishers:
    pins = []
    for seed in draw(st.lists(st.integers(0, 30), max_size=4)):
        key = signer(seed).public_key
        revoked = draw(st.booleans())
        pins.append(
            Pin(
                name="" if revoked and draw(st.booleans()) else draw(NAMES),
                fingerprint=key.fingerprint,
                key=key if draw(st.booleans()) else None,
                models=tuple(draw(st.lists(GLOBS, min_size=1, max_size=3))),
                added=draw(st.just(date.min) | st.dates()),
                via=draw(st.text(string.ascii_letters + string.digits + " :/.,=-@é#", max_size=20)),
                revoked=revoked,
                highest=draw(st.dictionaries(MODELS, st.integers(0, 2**53 - 1), max_size=3)),
                namespaces=draw(st.sampled_from(NAMESPACES)),
            )
        )
    return KnownPublishers(tuple(pins))


@given(publishers())
def test_round_trip(known: KnownPublishers) -> None:
    again = KnownPublishers.parse(known.render())
    assert again == known
    assert again.render() == known.render()


def test_the_line_is_the_documented_one() -> None:
    line = (
        'acme namespaces="weightshare" models="acme/*,lab/x" added=2026-11-22 via="github:acme" '
        f'highest="acme/m7b=12,acme/x=3" {KEY.openssh}'
    )
    known = KnownPublishers.parse(f"# mine\n\n{line}\r\n")
    assert known.pins == (
        pin(
            signer(1),
            models=("acme/*", "lab/x"),
            added=date(2026, 11, 22),
            via="github:acme",
            highest={"acme/m7b": 12, "acme/x": 3},
        ),
    )
    assert known.render().splitlines()[-1] == line


def test_short_forms_are_read() -> None:
    known = KnownPublishers.parse(
        f"a {KEY.openssh}\nb {OTHER.fingerprint}\n@revoked {signer(3).public_key.openssh} since=2026-10-01\n"
    )
    assert known.find(KEY.fingerprint) == Pin("a", KEY.fingerprint, KEY)
    assert known.find(OTHER.fingerprint) == Pin("b", OTHER.fingerprint)
    gone = known.find(signer(3).public_key.fingerprint)
    assert gone is not None
    assert (gone.name, gone.revoked, gone.added) == ("", True, date(2026, 10, 1))


BAD = {
    "acme": "no public key",
    "acme ssh-ed25519": "no Ed25519 key",
    "acme SHA256:xyz": "no fingerprint",
    f"acme sk-ssh-ed25519@openssh.com {KEY.openssh.split()[1]}": "security device",
    "acme ssh-rsa AAAAB3NzaC1yc2E=": "an RSA key",
    f"{KEY.openssh}": "a name has",
    f"a,b {KEY.openssh}": "a name has",
    f"a\x1b[2J {KEY.openssh}": "a name has",
    f"acm\u0435 {KEY.openssh}": "a name has",
    f"@trusted acme {KEY.openssh}": "only @revoked",
    f"acme frobs=3 {KEY.openssh}": "'frobs' is unknown",
    f"acme root=roots/3.json {KEY.fingerprint}": "is no team's root",
    f"acme root=../3.root.json {KEY.fingerprint}": "is no team's root",
    f"acme root=roots/acme/3.root.json {KEY.openssh}": "is no team's root",
    f'acme post-quantum="SHA256:short" {KEY.openssh}': "is no fingerprint",
    f'acme namespaces="git" {KEY.openssh}': "namespaces",
    f'acme models="" {KEY.openssh}': "models are globs",
    f'acme models="acme/*,a b" {KEY.openssh}': "models are globs",
    f"acme added=yesterday {KEY.openssh}": "yesterday",
    f"acme added=2026-01-01 added=2026-01-02 {KEY.openssh}": "there twice",
    f'acme highest="acme/x" {KEY.openssh}': "no model=sequence",
    f'acme highest="acme/x=-1" {KEY.openssh}': "no model=sequence",
    f'acme highest="acme/x=1,acme/x=2" {KEY.openssh}': "there twice",
    f'acme highest="x=1" {KEY.openssh}': "no model and sequence",
    f'acme highest="acme/x=9999999999999999" {KEY.openssh}': "no model and sequence",
    f'acme via="a\x1b[2J" {KEY.openssh}': "control character",
    f'acme via="unterminated {KEY.openssh}': "no public key",
    f"acme ssh-ed25519 {'A' * 43}= x": "no Ed25519 key",
}


@pytest.mark.parametrize(("line", "problem"), BAD.items(), ids=range(len(BAD)))
def test_a_malformed_line_stops_everything_and_is_named(line: str, problem: str) -> None:
    text = f"# comment\nfine {OTHER.openssh}\n{line}\n"
    with pytest.raises(StoreError, match=problem) as caught:
        KnownPublishers.parse(text)
    assert caught.value.message.startswith("Line 3 ")
    assert caught.value.facts["line"] == 3
    assert "\x1b" not in caught.value.message


def test_a_pin_whose_fingerprint_is_another_keys_cannot_be_made() -> None:
    with pytest.raises(PinError, match="not its key's"):
        Pin("acme", OTHER.fingerprint, KEY)


# ---- who is who


def test_find_prefers_what_revokes() -> None:
    known = knows(pin(signer(1)), pin(signer(1), "", revoked=True))
    found = known.find(KEY.fingerprint)
    assert found is not None
    assert found.revoked
    assert known.find(OTHER.fingerprint) is None


def test_names_do_not_differ_by_case_and_a_nameless_pin_has_none() -> None:
    known = knows(pin(signer(1), "Acme"), pin(signer(2), "", revoked=True))
    assert known.named("aCME") == (known.pins[0],)
    assert known.named("") == ()


def test_a_pinned_name_takes_another_key_only_with_replace() -> None:
    known = knows(pin(signer(1), highest={"acme/x": 3}), pin(signer(3), "else"))
    with pytest.raises(PinError) as caught:
        known.add(pin(signer(2), "ACME"))
    assert (caught.value.facts["pinned"], caught.value.facts["fingerprint"]) == (
        KEY.fingerprint,
        OTHER.fingerprint,
    )
    replaced = known.add(pin(signer(2)), replace=True)
    assert replaced.named("acme") == (pin(signer(2)),)
    assert replaced.named("else") == known.named("else")


def test_a_key_never_takes_a_second_name_silently() -> None:
    known = knows(pin(signer(1)))
    with pytest.raises(PinError, match="under the name acme"):
        known.add(pin(signer(1), "lab"))
    assert known.add(pin(signer(1), "lab"), replace=True).named("acme") == ()


def test_a_revoked_key_comes_back_only_with_replace() -> None:
    known = knows(pin(signer(1), revoked=True))
    with pytest.raises(PinError, match="revoked"):
        known.add(pin(signer(1)))
    back = known.add(pin(signer(1)), replace=True).find(KEY.fingerprint)
    assert back is not None
    assert not back.revoked


def test_adding_again_keeps_what_was_seen_and_learns_the_key() -> None:
    known = knows(Pin("acme", KEY.fingerprint, highest={"acme/x": 3, "acme/y": 1}))
    found = known.add(pin(signer(1), highest={"acme/y": 2, "acme/x": 1})).pins
    assert found == (pin(signer(1), highest={"acme/x": 3, "acme/y": 2}),)
    assert KnownPublishers(found).add(Pin("acme", KEY.fingerprint)).pins == found


def test_revoking_a_pinned_key_needs_no_replace() -> None:
    known = knows(pin(signer(1))).add(pin(signer(1), revoked=True))
    assert [p.revoked for p in known.pins] == [True]


def test_remove_by_name_or_fingerprint() -> None:
    known = knows(pin(signer(1)), pin(signer(2), "", revoked=True))
    assert known.remove("ACME").pins == known.pins[1:]
    assert known.remove(OTHER.fingerprint).pins == known.pins[:1]
    with pytest.raises(PinError, match="not pinned"):
        known.remove("nobody")
    with pytest.raises(PinError, match="not pinned"):
        known.remove("")


def test_the_highest_sequence_never_falls() -> None:
    known = knows(pin(signer(1)), pin(signer(2), "lab"))
    known = known.with_highest("acme", "acme/x", 5).with_highest("acme", "acme/x", 3)
    known = known.with_highest("acme", "acme/y", 0).with_highest("nobody", "acme/x", 9)
    assert known.pins == (pin(signer(1), highest={"acme/x": 5, "acme/y": 0}), pin(signer(2), "lab"))


# ---- the file


def test_a_missing_file_is_empty_and_a_saved_one_is_private(tmp_path: Path) -> None:
    path = tmp_path / "home" / "known_publishers"
    assert KnownPublishers.load(path) == KnownPublishers()
    known = knows(pin(signer(1), via="github:acmé"))
    known.save(path)
    assert KnownPublishers.load(path) == known
    replace(known, pins=()).save(path)
    assert KnownPublishers.load(path) == KnownPublishers()
    assert [entry.name for entry in path.parent.iterdir()] == ["known_publishers"]
    if sys.platform != "win32":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_file_that_cannot_be_read_is_no_empty_one(tmp_path: Path) -> None:
    path = tmp_path / "known_publishers"
    path.write_bytes(b"acme \xff")
    with pytest.raises(StoreError, match="not UTF-8"):
        KnownPublishers.load(path)
    path.write_bytes(b"#" * 5_000_000)
    with pytest.raises(StoreError, match="too large"):
        KnownPublishers.load(path)
    with pytest.raises(StoreError, match="cannot be read"):
        KnownPublishers.load(tmp_path)


def test_a_failed_save_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "known_publishers"
    knows(pin(signer(1))).save(path)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StoreError, match="No space left"):
        knows(pin(signer(2))).save(path)
    assert KnownPublishers.load(path) == knows(pin(signer(1)))
    assert len(list(tmp_path.iterdir())) == 1


def _note(path: Path, model: str, rounds: int) -> None:
    for sequence in range(rounds):
        update(path, lambda known, n=sequence: known.with_highest("acme", model, n))  # type: ignore[misc]


def test_two_processes_do_not_undo_each_other(tmp_path: Path) -> None:
    path = tmp_path / "known_publishers"
    knows(pin(signer(1))).save(path)
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_note, args=(path, f"acme/{name}", 40)) for name in "ab"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert KnownPublishers.load(path).pins[0].highest == {"acme/a": 39, "acme/b": 39}


def test_an_update_that_fails_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "known_publishers"
    knows(pin(signer(1))).save(path)
    with pytest.raises(PinError):
        update(path, lambda known: known.add(pin(signer(2))))
    assert KnownPublishers.load(path) == knows(pin(signer(1)))
