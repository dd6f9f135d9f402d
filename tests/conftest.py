"""Fixtures that more than one folder of tests uses."""

from __future__ import annotations

import signal

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
