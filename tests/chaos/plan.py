"""What a chaos run does, drawn from a seed alone: releases, rounds, and in each round what goes wrong and when.

A round fetches one release into one folder by one command, run again and again. Each of its runs has injections before
it, while it starts, and while bytes arrive; what ends the process comes last. After the last run comes a calm one, in
which nothing goes wrong. Whatever depends on the machine (is there a mount, which file is staged by then) is decided
when the injection is made, by dice of its own.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum

from weightshare.manifest.metainfo import lone_hash
from weightshare.units import KIB, MIB

SHAPES = 6
_RUNS = (2, 4)
_PIECES = (16 * KIB, 32 * KIB, 64 * KIB, 128 * KIB, 256 * KIB, MIB)


class Kind(StrEnum):
    """What can go wrong; the value is what a person reads."""

    FETCH_KILLED = "fetch killed (SIGKILL)"
    WORKER_KILLED = "a worker of the fetch killed"
    FETCH_INTERRUPTED = "fetch interrupted (SIGINT)"
    FETCH_TERMINATED = "fetch terminated (SIGTERM)"
    FETCH_STOPPED = "fetch stopped for a while"
    SEEDER_KILLED = "seeder killed, and back"
    SEEDER_STOPPED = "seeder stopped for a while"
    SEEDER_GONE = "seeder gone at 99 %"
    LINK_CUT = "link cut for a while"
    LIAR = "a peer with wrong bytes"
    DISK_FULL = "disk full"
    READ_ONLY = "folder read-only"
    STAGED_CUT = "staged file truncated"
    STAGED_OVERWRITTEN = "staged file overwritten"
    STAGED_REMOVED = "staged file removed"
    STATE_CUT = "state file truncated"
    STATE_GARBLED = "state file garbled"
    STATE_REMOVED = "state file removed"
    LANDED_CHANGED = "landed file changed, as large as before"


ENDS = frozenset({Kind.FETCH_KILLED, Kind.FETCH_INTERRUPTED, Kind.FETCH_TERMINATED})
"""What the process does not survive."""

STATE = frozenset({Kind.STATE_CUT, Kind.STATE_GARBLED, Kind.STATE_REMOVED})
STAGED = frozenset({Kind.STAGED_CUT, Kind.STAGED_OVERWRITTEN, Kind.STAGED_REMOVED})
DISK = frozenset({Kind.DISK_FULL, Kind.READ_ONLY})
AWAY = frozenset(
    {Kind.FETCH_STOPPED, Kind.SEEDER_KILLED, Kind.SEEDER_STOPPED, Kind.SEEDER_GONE, Kind.LINK_CUT}
)
"""What keeps bytes from coming for a while."""

# Kinds by when they are made, each with its weight.
_BEFORE = {
    **dict.fromkeys(STATE, 3),
    **dict.fromkeys(STAGED, 3),
    Kind.LIAR: 5,
    Kind.DISK_FULL: 1,
    Kind.READ_ONLY: 2,
}
_DURING = {
    **dict.fromkeys(STAGED, 2),
    Kind.FETCH_STOPPED: 3,
    Kind.SEEDER_KILLED: 4,
    Kind.SEEDER_STOPPED: 2,
    Kind.SEEDER_GONE: 3,
    Kind.LINK_CUT: 4,
    Kind.DISK_FULL: 4,
    Kind.READ_ONLY: 2,
    Kind.WORKER_KILLED: 2,
}
_LAST = {Kind.FETCH_KILLED: 6, Kind.FETCH_INTERRUPTED: 3, Kind.FETCH_TERMINATED: 2}


class When(StrEnum):
    """How an injection's moment is counted."""

    BEFORE = "before the run"
    EARLY = "seconds after its start"
    AT = "share of what it has to bring"
    AFTER = "after the release is whole"


@dataclass(frozen=True, slots=True)
class Injection:
    """One thing that goes wrong.

    Attributes:
        kind: what.
        when: how its moment is counted.
        value: seconds or a share; 0 where neither counts.
        seconds: how long it lasts, where it is not over at once.
        dice: seed of what is decided when it is made: which file, which bytes.
    """

    kind: Kind
    when: When
    value: float
    seconds: float
    dice: int


@dataclass(frozen=True, slots=True)
class Run:
    """One call of the command; `timeout` in seconds is what it is given."""

    timeout: float
    injections: tuple[Injection, ...]


@dataclass(frozen=True, slots=True)
class Shape:
    """A release: its files by path and size, and how it is published."""

    number: int
    v2_only: bool
    piece_length: int
    files: tuple[tuple[str, int], ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(size for _, size in self.files)


@dataclass(frozen=True, slots=True)
class Round:
    """A release fetched in spite of everything.

    Attributes:
        number: of the round.
        shape: the release's number.
        rate: cap on the fetch, bytes a second.
        apart: peers in network namespaces, where there can be such; on loopback by way of a relay otherwise.
        home_too: the fetch keeps its state on the same small disk.
        runs: what goes wrong, run by run.
        changed: what is done to the release once it is whole, None for nothing.
    """

    number: int
    shape: int
    rate: int
    apart: bool
    home_too: bool
    runs: tuple[Run, ...]
    changed: Injection | None


def shape_of(seed: int, number: int) -> Shape:
    """The release with this number, of `SHAPES`."""
    dice = random.Random(f"{seed} shape {number}")
    piece = dice.choice(_PIECES)
    files = {
        f"model-{index:05}.safetensors": _fetchable(dice.randrange(3 * MIB, 8 * MIB), piece)
        for index in range(1, dice.randrange(4, 7))
    }
    files |= {
        "one piece/of the length.safetensors": piece,
        "one piece/and a byte.safetensors": piece + 1,
        "config.json": dice.randrange(20, 2000),
        "an empty file.txt": 0,
        "notes/äöü.md": dice.randrange(1, 100 * KIB),
    }
    # Both ways, whatever the dice say.
    return Shape(number, bool(number % 2), piece, tuple(files.items()))


def round_of(seed: int, number: int) -> Round:
    """The round with this number; there is always another one."""
    dice = random.Random(f"{seed} round {number}")
    shape = dice.randrange(SHAPES)
    size = shape_of(seed, shape).size
    return Round(
        number=number,
        shape=shape,
        rate=int(size / dice.uniform(3, 6)),
        apart=dice.random() < 0.5,
        home_too=dice.random() < 0.3,
        runs=tuple(_run(dice, first=not index) for index in range(dice.randint(*_RUNS))),
        changed=_injection(dice, Kind.LANDED_CHANGED, When.AFTER, 0, 0) if dice.random() < 0.4 else None,
    )


def _run(dice: random.Random, *, first: bool) -> Run:
    kinds = dict(_BEFORE)
    if first:  # nothing is there yet that could be tampered with
        kinds = {kind: weight for kind, weight in kinds.items() if kind not in STATE | STAGED}
    before = _draw(dice, kinds, dice.choice((0, 1, 1, 2)))
    if Kind.READ_ONLY in before:  # nothing else can happen to a fetch that cannot begin
        before, during, last = [Kind.READ_ONLY], [], []
    else:
        during = _draw(dice, _DURING, dice.choice((0, 1, 2, 2, 3, 4)))
        last = _draw(dice, _LAST, 1) if dice.random() < 0.75 else []
    waits = any(kind in AWAY | DISK for kind in (*before, *during))
    timeout = round(dice.uniform(4, 6), 1) if waits else 30.0
    shares = sorted(round(dice.uniform(0.02, 0.8), 3) for _ in (*during, *last))
    alone = not during and not last
    injections = [_injection(dice, kind, When.BEFORE, 0, timeout if alone else 0) for kind in before]
    for kind, share in zip((*during, *last), shares, strict=True):
        lasts = timeout if [kind] == during[-1:] and not last else 0
        if kind is Kind.SEEDER_GONE:
            injections.append(_injection(dice, kind, When.AT, 0.97, lasts))
        elif kind in ENDS and not during and dice.random() < 0.4:
            injections.append(_injection(dice, kind, When.EARLY, round(dice.uniform(0, 2), 3), lasts))
        else:
            injections.append(_injection(dice, kind, When.AT, share, lasts))
    return Run(timeout, tuple(injections))


def _draw(dice: random.Random, kinds: dict[Kind, int], count: int) -> list[Kind]:
    """So many different kinds, by weight, in a fixed order before the dice: a set has none."""
    left = sorted(kinds.items())
    drawn = []
    for _ in range(count):
        pick = dice.choices(left, [weight for _, weight in left])[0]
        left.remove(pick)
        drawn.append(pick[0])
    # The seeder goes at the end, when nearly all is here.
    return sorted(drawn, key=lambda kind: kind is Kind.SEEDER_GONE)


def _injection(dice: random.Random, kind: Kind, when: When, value: float, outlasts: float) -> Injection:
    """An injection; if nothing comes after it, it may last until the fetch has lost its patience of so many seconds."""
    long = outlasts and kind in AWAY | DISK and kind is not Kind.FETCH_STOPPED and dice.random() < 0.5
    seconds = outlasts + 60 if long else round(dice.uniform(0.2, 2.5), 3)
    return Injection(kind, when, value, seconds, dice.getrandbits(32))


def _fetchable(size: int, piece_length: int) -> int:
    """A size that peers with only a link can be given the piece hashes of."""
    return size + piece_length if lone_hash(size, piece_length) else size
