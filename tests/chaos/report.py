"""What a chaos run says at its end: a table by kind of injection, and a line of totals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tests.chaos.invariants import KILLED
from tests.chaos.plan import Kind
from tests.chaos.playing import Played
from weightshare.units import format_size


@dataclass(frozen=True, slots=True)
class Totals:
    """All rounds together; the fields as in `Played`."""

    rounds: int
    made: Counter[Kind]
    missed: Counter[Kind]
    skipped: dict[Kind, str]
    statuses: Counter[int]
    laps: int
    needed: int
    came: int
    mended: int
    twice: int

    @property
    def injections(self) -> int:
        """How many hit."""
        return self.made.total()

    @property
    def restarts(self) -> int:
        """Runs of the fetch beyond one a release."""
        return max(0, self.statuses.total() - self.laps)


def total(rounds: Iterable[Played]) -> Totals:
    """Add rounds up."""
    played = list(rounds)
    made: Counter[Kind] = Counter()
    missed: Counter[Kind] = Counter()
    statuses: Counter[int] = Counter()
    skipped: dict[Kind, str] = {}
    for one in played:
        made += one.made
        missed += one.missed
        statuses += one.statuses
        skipped |= one.skipped
    return Totals(
        rounds=len(played),
        made=made,
        missed=missed,
        skipped=skipped,
        statuses=statuses,
        laps=sum(one.laps for one in played),
        needed=sum(one.needed for one in played),
        came=sum(one.came for one in played),
        mended=sum(one.mended for one in played),
        twice=sum(one.twice for one in played),
    )


def lines(totals: Totals, seed: int, seconds: float, violations: Sequence[str]) -> list[str]:
    """The report, a line each.

    Args:
        totals: all rounds that came to their end.
        seed: what they were drawn from.
        seconds: how long it took.
        violations: what was seen that must never be; the folders of evidence among it.
    """
    width = max(len(kind.value) for kind in Kind)
    text = [f"{'injection':<{width}}  made  too late", f"{'-' * width}  ----  --------"]
    for kind in Kind:
        note = f"  skipped: {totals.skipped[kind]}" if kind in totals.skipped else ""
        text.append(f"{kind.value:<{width}}  {totals.made[kind]:>4}  {totals.missed[kind]:>8}{note}")
    text += [f"{'all':<{width}}  {totals.injections:>4}  {totals.missed.total():>8}", ""]
    ends = ", ".join(f"{count} {_end(status)}" for status, count in sorted(totals.statuses.items()))
    more = totals.came / totals.needed - 1 if totals.needed else 0.0
    text += [
        f"{totals.rounds} rounds, {totals.laps} releases whole and verified, {totals.restarts} restarts, "
        f"{totals.mended} times changed behind the proof, found by verify and mended",
        f"runs of the fetch: {ends or 'none'}",
        f"{format_size(totals.came)} came for {format_size(totals.needed)} ({more:+.0%}, packets included); "
        f"{format_size(totals.twice)} again in runs that came to their end",
        f"{seconds:.0f} s, seed {seed}",
    ]
    if violations:
        text += ["", f"{len(violations)} violations:", *violations]
    return text


def _end(status: int) -> str:
    return "killed" if status == KILLED else f"exit {status}"
