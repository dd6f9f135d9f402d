"""Fixtures that more than one folder of tests uses."""

from __future__ import annotations

from tests.fixtures_models import minilm, smollm2

__all__ = ["minilm", "smollm2"]
