"""The error tree: every leaf has an exit code of its family, and a name for programs."""

from __future__ import annotations

import pytest

from weightshare import errors


def leaves(kind: type[errors.WeightshareError]) -> list[type[errors.WeightshareError]]:
    below = kind.__subclasses__()
    return [kind, *(leaf for child in below for leaf in leaves(child))]


FAMILIES = {
    errors.UsageError: 2,
    errors.TrustError: 3,
    errors.IntegrityError: 4,
    errors.NetworkError: 5,
    errors.StoreError: 6,
    errors.LoadError: 7,
    errors.RefusedContentError: 8,
}


@pytest.mark.parametrize(("family", "code"), FAMILIES.items())
def test_a_family_shares_its_exit_code(family: type[errors.WeightshareError], code: int) -> None:
    assert {leaf.exit_code for leaf in leaves(family)} == {code}


def test_every_error_is_in_a_family() -> None:
    ours = {leaf for leaf in leaves(errors.WeightshareError) if leaf.__module__ == errors.__name__}
    known = {leaf for family in FAMILIES for leaf in leaves(family)}
    assert ours - known == {errors.WeightshareError}


def test_kinds_are_distinct_and_facts_are_kept() -> None:
    kinds = [leaf("x").kind for leaf in leaves(errors.WeightshareError)]
    assert len(set(kinds)) == len(kinds)
    error = errors.NoSpaceError("The disk is full.", hint="Make space.", path="/x", needed=2, free=1)
    assert error.kind == "no_space"
    assert (error.message, error.hint, str(error)) == (
        "The disk is full.",
        "Make space.",
        "The disk is full.",
    )
    assert error.facts == {"path": "/x", "needed": 2, "free": 1}
