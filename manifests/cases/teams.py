"""R: teams behind TUF roots, sound and broken."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence

from cases.builders import Json, Key, compact, seal, to_bytes
from cases.case import ALICE, MALLORY, Case, drop, put
from cases.team_builders import (
    ANN,
    BEN,
    CLEO,
    DAN,
    FIRST,
    NEXT,
    UNDER_FIRST,
    UNDER_NEXT,
    identity,
    root,
    root_file,
    team_envelope,
    team_statement,
)


def team_example() -> bytes:
    """A team's release under its second root."""
    return to_bytes(team_envelope(UNDER_NEXT, (FIRST, NEXT), CLEO, DAN))


def team_identity() -> str:
    """The fingerprint of the example's team."""
    return identity(FIRST)


def team_cases() -> Iterator[Case]:
    """R: releases by a team; whoever verifies knows its identity, unless it says otherwise."""
    team = (identity(FIRST),)
    kept = hashlib.sha256(compact(UNDER_FIRST)).hexdigest()
    keeping = root(2, (ANN, CLEO, DAN), 2, (ANN, CLEO, DAN), releases=[kept])
    founded = root(1, (ANN, BEN, CLEO), 2, (ALICE, ANN, BEN))
    alone = root(1, (ANN,), 1, (ANN,))
    expired = root(1, (ANN, BEN, CLEO), 2, (ANN, BEN), put("expires", "2001-01-01T00:00:00Z"))

    def good(
        name: str,
        about: str,
        document: Json,
        roots: Sequence[Json],
        *by: Key,
        rules: Iterable[str] = (),
        known: Sequence[str] = team,
    ) -> Case:
        payload, facts = compact(document), {"canonical": True, "release": "guild/m7b@1.0"}
        facts |= {"payload_sha256": hashlib.sha256(payload).hexdigest(), "signer": identity(roots[0])}
        return Case(
            name,
            about,
            to_bytes(team_envelope(document, roots, *by)),
            tuple(rules),
            tuple(known),
            more=facts,
            called="guild",
        )

    yield good("team", "Two of three keys signed.", UNDER_FIRST, [FIRST], ANN, BEN)
    yield good("team-all-three", "All of them did.", UNDER_FIRST, [FIRST], ANN, BEN, CLEO)
    yield good("team-rotated", "A new key signs under the second root.", UNDER_NEXT, [FIRST, NEXT], CLEO, DAN)
    yield good(
        "team-newer-root",
        "Keys that stayed; the envelope brings a newer root than it needs.",
        UNDER_FIRST,
        [FIRST, NEXT],
        ANN,
        CLEO,
    )
    yield good(
        "team-kept",
        "Signed by a retired key, and named by the root that retired it.",
        UNDER_FIRST,
        [FIRST, keeping],
        ANN,
        BEN,
        rules=["R8"],
    )
    yield good(
        "team-expired",
        "A root that has expired; a release needs no clock.",
        UNDER_FIRST,
        [expired],
        ANN,
        BEN,
        rules=["R9"],
        known=[identity(expired)],
    )
    yield good(
        "team-of-one", "A threshold of one.", team_statement((ANN,), 1), [alone], ANN, known=[identity(alone)]
    )
    yield good(
        "team-founded-by-the-known-key",
        "Known is the single key that signed the first root.",
        UNDER_FIRST,
        [founded],
        ANN,
        BEN,
        rules=["R6"],
        known=[ALICE.line],
    )

    def bad(
        name: str, about: str, envelope: Json, error: str = "team_root", known: Sequence[str] = team
    ) -> Case:
        return Case(
            name,
            about,
            to_bytes(envelope),
            (name.partition("-")[0],),
            tuple(known),
            error,
            None,
            False,
            called="guild",
        )

    def under(first: Json | bytes, *more: Json | bytes) -> Json:
        return team_envelope(UNDER_FIRST, (first, *more), ANN, BEN)

    yield bad("R1-no-roots", "A team's release that brings no root.", seal(compact(UNDER_FIRST), ANN, BEN))
    yield bad(
        "R1-root-missing",
        "Signed under root 2, of which only the first is there.",
        team_envelope(UNDER_NEXT, [FIRST], ANN, CLEO),
    )
    for name, about, change in ROOT_CHANGES:
        broken = root(1, (ANN, BEN, CLEO), 2, (ANN, BEN), change)
        yield bad(f"R2-{name}", about, under(broken), known=[identity(broken)])
    text = root_file(FIRST)
    yield bad(
        "R2-duplicate-key",
        "A root with a key twice.",
        under(text.replace(b'{"_type"', b'{"_type":"root","_type"', 1)),
    )
    yield bad("R2-not-json", "A root that is no JSON.", under(b"root"))
    yield bad("R3-begins-with-2", "The first root is missing.", under(NEXT))
    yield bad("R3-first-twice", "The first root comes twice.", under(FIRST, FIRST))
    skipped = root(3, (ANN, CLEO, DAN), 2, (ANN, CLEO, DAN))
    yield bad("R3-skips-2", "Root 3 behind root 1.", under(FIRST, skipped))
    yield bad(
        "R4-first-by-one",
        "The first root is signed by one of two.",
        under(root(1, (ANN, BEN, CLEO), 2, (ANN,))),
    )
    doubled = copy.deepcopy(root(1, (ANN, BEN, CLEO), 2, (ANN,)))
    doubled["signatures"] *= 2
    yield bad("R2-signature-twice", "Two signatures under one key id.", under(doubled))
    yield bad(
        "R4-not-by-the-one-before",
        "Root 2 is signed by its own keys alone.",
        under(FIRST, root(2, (ANN, CLEO, DAN), 2, (CLEO, DAN))),
    )
    yield bad(
        "R4-not-by-itself",
        "Root 2 is signed by the keys of root 1 alone.",
        under(FIRST, root(2, (ANN, CLEO, DAN), 2, (ANN, BEN))),
    )
    yield bad(
        "R4-evil-root",
        "A stranger's root behind the team's.",
        under(FIRST, root(2, (MALLORY,), 1, (MALLORY,))),
    )
    tampered = copy.deepcopy(FIRST)
    tampered["signed"]["roles"]["targets"]["threshold"] = 1
    yield bad(
        "R4-changed-after-signing",
        "A threshold that was lowered afterwards.",
        under(tampered),
        known=[identity(FIRST)],
    )
    yield bad(
        "R5-other-name",
        "Root 2 calls the team by another name.",
        under(FIRST, root(2, (ANN, CLEO, DAN), 2, (ANN, CLEO, DAN), name="acme")),
    )
    strangers = team_envelope(UNDER_FIRST, [FIRST], ANN, BEN)
    yield bad(
        "R6-unknown-team",
        "A sound release by a team that nobody knows.",
        strangers,
        "unknown_publisher",
        known=(),
    )
    yield bad(
        "R6-not-founded-by-the-known-key",
        "The single key that is known under this name did not sign the first root.",
        strangers,
        "changed_publisher",
        known=[ALICE.line],
    )
    yield bad(
        "R7-one-of-two",
        "One signature where two are demanded.",
        team_envelope(UNDER_FIRST, [FIRST], ANN),
        "threshold",
    )
    yield bad(
        "R7-one-stranger",
        "A member and a stranger, whom the statement names.",
        team_envelope(team_statement((ANN, BEN, CLEO, MALLORY), 1), [FIRST], ANN, MALLORY),
        "threshold",
    )
    yield bad(
        "R7-not-named",
        "Two members, of whom the statement names one.",
        team_envelope(team_statement((ANN,), 1), [FIRST], ANN, BEN),
        "threshold",
    )
    yield bad(
        "R7-strangers",
        "Two strangers, whom the statement names.",
        team_envelope(team_statement((MALLORY, DAN), 1), [FIRST], MALLORY, DAN),
        "changed_publisher",
    )
    twice = team_envelope(UNDER_FIRST, [FIRST], ANN)
    yield bad(
        "S8-same-key-twice",
        "The same key twice does not make two.",
        twice | {"signatures": twice["signatures"] * 2},
        "threshold",
    )
    yield bad(
        "R8-retired-key",
        "Signed by keys of root 1 that root 2 has retired.",
        under(FIRST, NEXT),
        "retired_key",
    )


def _swap_scheme(signed: Json) -> None:
    next(iter(signed["keys"].values()))["scheme"] = "rsassa-pss-sha256"


def _same_key_twice(signed: Json) -> None:
    keys, role = signed["keys"], signed["roles"]["targets"]
    keys["00" * 32] = copy.deepcopy(keys[role["keyids"][0]])
    for each in signed["roles"].values():
        each["keyids"].append("00" * 32)


ROOT_CHANGES: list[tuple[str, str, Callable[[Json], object]]] = [
    ("other-type", "Another TUF role's metadata.", put("_type", "timestamp")),
    ("version-text", "A version in quotes.", put("version", "1")),
    ("no-name", "A root that names no team.", put("x-weightshare", {})),
    ("name-with-a-space", "A name that no publisher can have.", put("x-weightshare.name", "the guild")),
    ("releases-text", "Kept releases that are no list.", put("x-weightshare.releases", "00" * 32)),
    ("releases-short", "A kept release that is no digest.", put("x-weightshare.releases", ["00"])),
    ("threshold-zero", "A threshold of 0.", put("roles.targets.threshold", 0)),
    ("threshold-too-high", "A threshold that cannot be met.", put("roles.targets.threshold", 4)),
    ("unknown-keyid", "A role with a key that is not in the root.", put("roles.targets.keyids.0", "00" * 32)),
    ("no-expiry", "A root without `expires`.", drop("expires")),
    ("spec-version-2", "A root of a later TUF.", put("spec_version", "2.0.0")),
    ("no-timestamp-role", "A root without one of TUF's four roles.", drop("roles.timestamp")),
    ("other-scheme", "A key of another kind.", _swap_scheme),
    ("same-key-twice", "One key under two ids, which would count twice.", _same_key_twice),
]  # fmt: skip
