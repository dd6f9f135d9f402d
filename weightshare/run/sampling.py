"""How the next token is chosen: plain values, checked before a model is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from weightshare.errors import UsageError


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen: the likeliest one, unless one of the first four fields is set.

    Attributes:
        seed: where the dice start; the same seed on the same machine gives the same text.
        temperature: more than 0; higher is wilder. By default the release's own.
        top_p: only the likeliest tokens that add up to this share. By default the release's own.
        top_k: only so many of the likeliest tokens; 0 for no such limit. By default the release's own.
        repetition_penalty: divides the chance of tokens that were used already; 1 changes nothing. By default the
            release's own. It does not bring in dice: the likeliest token after the penalty is still one token.
    """

    seed: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    repetition_penalty: float | None = None

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """From a mapping that may have these fields, and others."""
        return cls(**{field.name: values[field.name] for field in fields(cls) if field.name in values})

    @property
    def greedy(self) -> bool:
        """Whether there are no dice."""
        return self.seed is None and self.temperature is None and self.top_p is None and self.top_k is None

    def check(self) -> None:
        """Refuse values that mean nothing.

        Raises:
            UsageError: a value is out of range.
        """
        if self.temperature is not None and not 0 < self.temperature <= 100:
            raise UsageError(
                f"A temperature of {self.temperature} is not above 0 and up to 100.",
                hint="For the likeliest answer, leave it out.",
            )
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise UsageError(
                f"{self.top_p} is no share of the tokens.", hint="Give top-p as a number above 0, up to 1."
            )
        if self.top_k is not None and not 0 <= self.top_k < 2**31:
            raise UsageError(
                f"{self.top_k} is no number of tokens to draw from.",
                hint="Give top-k as a whole number from 1, or 0 for no such limit.",
            )
        if self.repetition_penalty is not None and not 0 < self.repetition_penalty <= 100:
            raise UsageError(
                f"A repetition penalty of {self.repetition_penalty} is not above 0 and up to 100.",
                hint="1 changes nothing; 1.1 is a mild one.",
            )
        if self.seed is not None and not 0 <= self.seed < 2**63:
            raise UsageError(f"{self.seed} is not a seed.", hint="Give a whole number from 0.")

    def options(self) -> dict[str, Any]:
        """The arguments of transformers' `generate`."""
        penalty = {"repetition_penalty": self.repetition_penalty}
        if self.greedy:
            chosen: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        else:
            chosen = {"do_sample": True}
            penalty |= {"temperature": self.temperature, "top_p": self.top_p, "top_k": self.top_k}
        return chosen | {name: value for name, value in penalty.items() if value is not None}
