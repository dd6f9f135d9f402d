"""From a prompt to text, on a model and tokenizer that are there."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from transformers import TextStreamer

from weightshare.errors import UsageError
from weightshare.run.quiet import quiet

Message = Mapping[str, str]
"""One turn of a chat: `role` (`system`, `user`, `assistant`) and `content`."""

MAX_NEW_TOKENS = 256


@dataclass(frozen=True, slots=True)
class Generation:
    """What a model said.

    Attributes:
        text: without special tokens.
        prompt_tokens: tokens of the prompt, the chat template's included.
        tokens: tokens generated.
        seconds: time it took, the prompt's included.
        tokens_per_second: tokens generated a second.
    """

    text: str
    prompt_tokens: int
    tokens: int
    seconds: float
    tokens_per_second: float


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen: the likeliest one, unless a field is set.

    Attributes:
        seed: where the dice start; the same seed on the same machine gives the same text.
        temperature: more than 0; higher is wilder. By default the release's own.
        top_p: only the likeliest tokens that add up to this share. By default the release's own.
    """

    seed: int | None = None
    temperature: float | None = None
    top_p: float | None = None

    @property
    def greedy(self) -> bool:
        """Whether there are no dice."""
        return self.seed is None and self.temperature is None and self.top_p is None

    def check(self) -> None:
        """Refuse values that mean nothing.

        Raises:
            UsageError: a value is out of range.
        """
        if self.temperature is not None and not 0 < self.temperature <= 100:
            raise UsageError(
                f"A temperature of {self.temperature} is not above 0.",
                hint="For the likeliest answer, leave it out.",
            )
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise UsageError(
                f"{self.top_p} is no share of the tokens.", hint="Give a number above 0, up to 1."
            )
        if self.seed is not None and not 0 <= self.seed < 2**63:
            raise UsageError(f"{self.seed} is not a seed.", hint="Give a whole number from 0.")

    def options(self) -> dict[str, Any]:
        """The arguments of transformers' `generate`."""
        if self.greedy:
            return {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        given = {"temperature": self.temperature, "top_p": self.top_p}
        return {"do_sample": True, **{name: value for name, value in given.items() if value is not None}}


def encode(tokenizer: Any, prompt: str | Sequence[Message]) -> torch.Tensor:
    """The prompt's tokens, one row. A text becomes a chat's first message where the tokenizer has a chat template.

    Raises:
        UsageError: messages for a model without a chat template, or a prompt without tokens.
    """
    if tokenizer.chat_template:
        messages = (
            [{"role": "user", "content": prompt}] if isinstance(prompt, str) else [dict(m) for m in prompt]
        )
        inputs = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
    elif isinstance(prompt, str):
        inputs = tokenizer(prompt, return_tensors="pt")
    else:
        raise UsageError(
            "This model has no chat template: it continues a text, and does not answer messages.",
            hint="Give the text to continue as one prompt.",
        )
    tokens: torch.Tensor = inputs["input_ids"]
    if not tokens.shape[-1]:
        raise UsageError("The prompt is empty.", hint="Give the model something to continue.")
    return tokens


def generate(
    model: Any,
    tokenizer: Any,
    prompt: str | Sequence[Message],
    *,
    max_new_tokens: int = MAX_NEW_TOKENS,
    sampling: Sampling | None = None,
    on_text: Callable[[str], None] | None = None,
) -> Generation:
    """Let a model continue a prompt.

    Args:
        model: a transformers model that can generate.
        tokenizer: its tokenizer.
        prompt: a text, or the messages of a chat so far.
        max_new_tokens: where to stop at the latest.
        sampling: how tokens are chosen; the likeliest by default.
        on_text: given the text as it comes, in whole words.

    Raises:
        UsageError: arguments that mean nothing, or a prompt longer than the model can take.
    """
    sampling = sampling or Sampling()
    sampling.check()
    if max_new_tokens < 1:
        raise UsageError(f"{max_new_tokens} tokens are none to wait for.", hint="Give a number from 1.")
    with quiet():
        tokens = encode(tokenizer, prompt).to(model.device)
    prompt_tokens = tokens.shape[-1]
    limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if isinstance(limit, int) and limit > 0:
        if prompt_tokens >= limit:
            raise UsageError(
                f"The prompt has {prompt_tokens} tokens; the model takes {limit} with the answer.",
                hint="Shorten the prompt.",
            )
        max_new_tokens = min(max_new_tokens, limit - prompt_tokens)
    streamer = _Streamer(tokenizer, on_text) if on_text else None
    pad = model.generation_config.pad_token_id
    devices = [model.device] if model.device.type == "cuda" else []
    # The caller's dice are left as they lie.
    dice = nullcontext() if sampling.seed is None else torch.random.fork_rng(devices)
    started = time.monotonic()
    with quiet(), torch.inference_mode(), dice:
        if sampling.seed is not None:
            torch.manual_seed(sampling.seed)
        output = model.generate(
            tokens,
            attention_mask=torch.ones_like(tokens),
            max_new_tokens=max_new_tokens,
            pad_token_id=tokenizer.pad_token_id if pad is None else pad,
            streamer=streamer,
            **sampling.options(),
        )
    seconds = time.monotonic() - started
    new = output[0] if model.config.is_encoder_decoder else output[0, prompt_tokens:]
    text = tokenizer.decode(new, skip_special_tokens=True)
    count = int(new.shape[-1])
    return Generation(text, prompt_tokens, count, seconds, count / seconds if seconds else 0.0)


class _Streamer(TextStreamer):  # type: ignore[misc]
    """Hands on the text in whole words."""

    def __init__(self, tokenizer: Any, on_text: Callable[[str], None]) -> None:
        super().__init__(tokenizer, skip_prompt=True, skip_special_tokens=True)
        self._on_text = on_text

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        """What transformers calls with every finished word."""
        if text:
            self._on_text(text)
