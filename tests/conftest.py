"""Fixtures that more than one folder of tests uses."""

from __future__ import annotations

import signal

import pytest

from tests.fixtures_models import minilm, smollm2

__all__ = ["minilm", "smollm2"]


def pytest_configure(config: pytest.Config) -> None:
    """Take Ctrl-C again where a shell ignores it for what it runs in the background: our children inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
