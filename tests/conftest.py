"""Fixtures that more than one folder of tests uses."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from unittest import mock

import pytest

from tests.cli.inside import inside
from tests.fixtures_models import minilm, smollm2

__all__ = ["inside", "minilm", "smollm2"]


def pytest_configure(config: pytest.Config) -> None:
    """Take signals again that whoever started us ignores: a shell Ctrl-C for its background, `nohup` a hang-up.

    Our children inherit that, and some tests are about how they end.
    """
    for name, handler in (("SIGINT", signal.default_int_handler), ("SIGHUP", signal.SIG_DFL)):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


@pytest.fixture(autouse=True)
def same_environment() -> Iterator[None]:
    """A command that runs in this process may set variables for the rest of it, which is not the end of the test."""
    with mock.patch.dict(os.environ):
        yield
