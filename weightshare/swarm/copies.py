"""How many copies of what is wanted there are, between a fetch and the peers it is connected to. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def availability(counts: Sequence[int], wanted: Collection[int], here: Collection[int]) -> float:
    """Distributed copies of the wanted pieces: how often the rarest is there, and the share of those there more often.

    0.98 means that nobody has two pieces of a hundred; with 1.0 and more the fetch can be completed.

    Args:
        counts: how many connected peers have each piece of the torrent, by index; what lies beyond its end nobody has.
        wanted: indices.
        here: those of them that are here already.
    """
    copies = [(counts[piece] if piece < len(counts) else 0) + (piece in here) for piece in wanted]
    if not copies:
        return 1.0
    rarest = min(copies)
    return rarest + sum(count > rarest for count in copies) / len(copies)


def first_missing(counts: Sequence[int], wanted: Collection[int], here: Collection[int]) -> int | None:
    """The first of the wanted pieces that is neither here nor with any connected peer; None if each is somewhere."""
    return min(
        (piece for piece in wanted if piece not in here and not (piece < len(counts) and counts[piece])),
        default=None,
    )
