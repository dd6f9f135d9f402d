"""Waiting for something that can be seen, never longer than a limit."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_LOOK_EVERY = 0.005


def until(look: Callable[[], T], what: str, *, within: float = 30.0) -> T:
    """Look again and again until there is something to see, and return it.

    Args:
        look: anything true ends the wait.
        what: what is waited for, for the failure.
        within: seconds.
    """
    deadline = time.monotonic() + within
    while not (seen := look()):
        assert time.monotonic() < deadline, f"waited {within:g} s for {what}"
        time.sleep(_LOOK_EVERY)
    return seen
