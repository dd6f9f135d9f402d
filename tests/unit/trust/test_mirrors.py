"""Counting mirrors: distinct keys, known as mirrors, about this very release and torrent, not its publisher's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders_mirrors import (
    ACME,
    CDN,
    EVIL,
    KNOWN,
    NOW,
    UNI,
    WHEN,
    info_hash,
    mirror,
    resigned,
    sealed,
    verified,
    vouch,
)
from tests.builders_releases import FILES, Release, knows, manifest, pin, release, signer
from weightshare.errors import TooFewMirrorsError
from weightshare.manifest.envelope import Envelope
from weightshare.manifest.model import Publisher
from weightshare.trust.mirrors import Attestation, MirrorCount, count
from weightshare.trust.publishers import KnownPublishers

BOTH = ("weightshare", "weightshare-mirror")


def _count(*files: bytes, known: KnownPublishers = KNOWN, made: Release | None = None) -> MirrorCount:
    given_files = [Attestation(f"{number}.json", data) for number, data in enumerate(files)]
    return count(given_files, verified(made), info_hash(made), known, NOW)


def _names(tally: MirrorCount) -> list[str]:
    return [entry.mirror_name for entry in tally.counted]


def test_two_mirrors_are_two() -> None:
    tally = _count(vouch(CDN), vouch(UNI))
    assert _names(tally) == ["cdn", "uni"]
    assert (tally.refused, tally.warnings, tally.release) == ((), (), "acme/m7b@1.0")
    tally.require(2)
    with pytest.raises(TooFewMirrorsError) as caught:
        tally.require(3)
    assert caught.value.exit_code == 3
    assert caught.value.facts == {
        "required": 3,
        "counted": [CDN.public_key.fingerprint, UNI.public_key.fingerprint],
        "refused": [],
    }
    assert caught.value.message == "2 of the 3 mirrors that you demand vouch for the bytes of acme/m7b@1.0."


def test_none_is_enough_where_none_is_demanded() -> None:
    _count().require(0)
    with pytest.raises(TooFewMirrorsError):
        _count().require(1)


def _other() -> Release:
    return release(ACME, {**FILES, "config.json": b"{ }"})


def _other_torrent(statement: dict[str, Any]) -> None:
    statement["predicate"]["weightshare"]["infoHashV2"] = "00" * 32


def _fewer(key: str) -> Callable[[dict[str, Any]], None]:
    def change(statement: dict[str, Any]) -> None:
        statement["predicate"]["weightshare"][key] -= 1

    return change


REFUSED: dict[str, tuple[bytes, str]] = {
    "another release": (vouch(CDN, _other()), "another release, which it calls 'acme/m7b@1.0'"),
    "another torrent": (resigned(_other_torrent), "another torrent, 0000"),
    "fewer bytes": (resigned(_fewer("bytesRehashed")), "bytes in"),
    "fewer files": (resigned(_fewer("files")), "files; the release has"),
    "unknown": (vouch(EVIL), "do not know the mirror"),
    "the publisher": (vouch(ACME), "do not know the mirror"),
    "bad signature": (sealed(Envelope.parse(vouch(CDN)).payload, UNI), "did not sign it"),
    "a manifest": (release(ACME).envelope, "a release's manifest"),
    "rubbish": (b"rubbish", "not valid"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_count_and_why(name: str) -> None:
    data, why = REFUSED[name]
    tally = _count(vouch(UNI), data)
    assert _names(tally) == ["uni"]
    ((label, reason),) = tally.refused
    assert label == "1.json"
    assert why in reason
    with pytest.raises(TooFewMirrorsError) as caught:
        tally.require(2)
    assert "1 of the 2 mirrors" in caught.value.message
    assert f"Not counted: '1.json': {reason}" in caught.value.message


def test_a_mirror_counts_once() -> None:
    tally = _count(vouch(CDN), vouch(CDN, when=WHEN + timedelta(hours=1)), vouch(CDN))
    assert _names(tally) == ["cdn"]
    assert [reason for _, reason in tally.refused] == ["The mirror cdn was counted already."] * 2


def test_a_key_under_two_names_counts_once() -> None:
    known = knows(pin(ACME), mirror(CDN, "cdn"), mirror(CDN, "other"))
    assert len(_count(vouch(CDN), vouch(CDN), known=known).counted) == 1


def test_the_publisher_is_no_mirror_of_its_own_release() -> None:
    known = knows(pin(ACME, namespaces=BOTH))
    tally = _count(vouch(ACME), known=known)
    assert tally.counted == ()
    assert "own publisher" in tally.refused[0][1]
    # Of another publisher's release it is one.
    uni = release(UNI, publisher="uni", model="uni/x")
    assert len(_count(vouch(ACME, uni), known=known, made=uni).counted) == 1


def test_a_key_that_may_sign_for_the_publisher_is_no_mirror() -> None:
    said = manifest(ACME)
    keys = (ACME.public_key.fingerprint, CDN.public_key.fingerprint)
    made = Release(replace(said, publisher=Publisher("acme", keys)), ACME, FILES)
    tally = _count(vouch(CDN, made), vouch(UNI, made), made=made)
    assert _names(tally) == ["uni"]
    assert "own publisher" in tally.refused[0][1]


def test_a_mirror_whose_clock_is_ahead_counts_and_is_said() -> None:
    ahead = vouch(CDN, when=NOW + timedelta(minutes=6))
    tally = _count(ahead, vouch(UNI, when=NOW + timedelta(minutes=4)))
    assert _names(tally) == ["cdn", "uni"]
    (warning,) = tally.warnings
    assert "The mirror cdn says" in warning
    assert "yet to come" in warning


def test_hostile_labels_are_escaped_and_long_lists_cut() -> None:
    files = [Attestation("\x1b[2J", b"x")] * 12
    tally = count(files, verified(), info_hash(), KNOWN, NOW)
    with pytest.raises(TooFewMirrorsError) as caught:
        tally.require(1)
    assert "\x1b" not in caught.value.message
    assert "and 2 more." in caught.value.message


@given(st.lists(st.tuples(st.integers(2, 8), st.booleans(), st.booleans()), max_size=12))
def test_as_many_count_as_there_are_distinct_known_keys_that_speak_of_it(
    files: list[tuple[int, bool, bool]],
) -> None:
    known = knows(pin(ACME), *(mirror(signer(seed), f"m{seed}") for seed in range(2, 6)))
    other = _other()
    data = [vouch(signer(seed), other if elsewhere else None) for seed, elsewhere, _ in files]
    changed = [body[:-40] if cut else body for body, (_, _, cut) in zip(data, files, strict=True)]
    tally = _count(*changed, known=known)
    sound = {seed for seed, elsewhere, cut in files if seed < 6 and not elsewhere and not cut}
    assert {entry.mirror_name for entry in tally.counted} == {f"m{seed}" for seed in sound}
    assert len(tally.counted) + len(tally.refused) == len(files)
