"""How many bytes came from peers, whatever was on the disk before and whatever of it was wrong."""

from __future__ import annotations

from weightshare.swarm.kept import NOTHING, Kept, Tally
from weightshare.units import BLOCK

PIECE = 4 * BLOCK
LENGTHS = {0: PIECE, 1: PIECE, 2: PIECE, 3: 100}
WHOLE = sum(LENGTHS.values())


def test_all_of_it_and_what_came_for_nothing() -> None:
    assert Tally(LENGTHS, NOTHING).received(7) == WHOLE + 7


def test_what_was_here_or_withheld_or_of_no_interest_did_not_come() -> None:
    assert Tally(LENGTHS, Kept({0, 9}, {3})).received(0) == 2 * PIECE


def test_blocks_that_were_here_count_by_the_block_and_a_short_piece_by_its_bytes() -> None:
    begun = {1: [True, False, True, False], 3: [True]}
    assert Tally(LENGTHS, Kept(begun=begun)).received(0) == WHOLE - 2 * BLOCK - 100


def test_blocks_that_were_wrong_came_after_all_but_once() -> None:
    tally = Tally(LENGTHS, Kept(begun={1: [True] * 4}))
    tally.refused(1)
    tally.refused(1)
    assert tally.received(0) == WHOLE


def test_a_piece_that_is_doubted_comes_again_only_if_it_is_refused() -> None:
    for before, first in ((NOTHING, WHOLE), (Kept({1}), WHOLE - PIECE)):
        tally = Tally(LENGTHS, before)
        tally.doubt({1, 2})
        assert tally.received(0) == first
        tally.refused(1)
        assert tally.received(0) == first + PIECE


def test_a_piece_that_was_lost_comes_again() -> None:
    tally = Tally(LENGTHS, Kept({1}))
    tally.lost({1})
    assert tally.received(0) == WHOLE


def test_a_piece_of_a_lying_peer_is_counted_by_the_engine() -> None:
    tally = Tally(LENGTHS, NOTHING)
    tally.refused(2)
    assert tally.received(PIECE) == WHOLE + PIECE


def test_pieces_that_are_wanted_later_count_as_those_wanted_first() -> None:
    at_once, bit_by_bit = Tally(LENGTHS, Kept({1}, {3})), Tally({0: PIECE}, Kept({1}, {3}))
    bit_by_bit.also({0: PIECE, 1: PIECE})
    bit_by_bit.also(LENGTHS)
    assert bit_by_bit.received(5) == at_once.received(5) == 2 * PIECE + 5
