"""What Ctrl-C does for a while, and no longer: Python's signal handlers, put back as they were."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class AtPromptError(KeyboardInterrupt):
    """Ctrl-C, and not another signal that ends programs; a `KeyboardInterrupt` wherever nobody knows it."""


@contextmanager
def raising(error: type[KeyboardInterrupt]) -> Iterator[None]:
    """Ctrl-C raises `error` in this block."""

    def handler(_number: int, _frame: FrameType | None) -> None:
        raise error

    with _handling(handler):
        yield


@contextmanager
def caught() -> Iterator[threading.Event]:
    """Ctrl-C sets the event in this block, and a second one raises `AtPromptError`."""
    pressed = threading.Event()

    def handler(_number: int, _frame: FrameType | None) -> None:
        if pressed.is_set():
            raise AtPromptError
        pressed.set()

    with _handling(handler):
        yield pressed


@contextmanager
def _handling(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # where signals are none of ours
        yield
        return
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
