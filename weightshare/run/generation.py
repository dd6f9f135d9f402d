"""From a prompt to text, on a model and tokenizer that are there."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jinja2.exceptions import TemplateError
from transformers import StoppingCriteria, TextStreamer

from weightshare.errors import UnsupportedModelError, UsageError
from weightshare.run.quiet import quiet
from weightshare.run.sampling import Sampling

Message = Mapping[str, str]
"""One turn of a chat: `role` (`system`, `user`, `assistant`) and `content`."""

Finish = Literal["stop", "length", "interrupted"]

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
        finish: why it ended: `stop` (the model was done), `length` (no more tokens were allowed, or fit) or
            `interrupted` (the caller had enough).
    """

    text: str
    prompt_tokens: int
    tokens: int
    seconds: float
    tokens_per_second: float
    finish: Finish = "stop"


def encode(tokenizer: Any, prompt: str | Sequence[Message], *, system: str | None = None) -> torch.Tensor:
    """The prompt's tokens, one row. A text becomes a chat's first message where the tokenizer has a chat template.

    Args:
        tokenizer: the model's.
        prompt: a text, or messages.
        system: what the model is told before all else; takes a chat template.

    Raises:
        UsageError: messages for a model without a chat template, messages that its template refuses, or a prompt
            without tokens.
        UnsupportedModelError: the template is no sound one.
    """
    if tokenizer.chat_template:
        messages = (
            [{"role": "user", "content": prompt}] if isinstance(prompt, str) else [dict(m) for m in prompt]
        )
        if system is not None:
            messages.insert(0, {"role": "system", "content": system})
        inputs = _templated(tokenizer, messages)
    elif isinstance(prompt, str) and system is None:
        inputs = tokenizer(prompt, return_tensors="pt")
    else:
        raise UsageError(
            "This model has no chat template: it continues a text, and does not answer messages.",
            hint="Give the text to continue as one prompt, and no system message.",
        )
    tokens: torch.Tensor = inputs["input_ids"]
    if not tokens.shape[-1]:
        raise UsageError("The prompt is empty.", hint="Give the model something to continue.")
    return tokens


def _templated(tokenizer: Any, messages: list[dict[str, str]]) -> Any:
    try:
        return tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
    except TemplateError as error:
        reason = " ".join(str(error).split())
        # transformers gives templates `raise_exception`, which raises this very class and none of those below it.
        if type(error) is not TemplateError:
            raise UnsupportedModelError(
                f"The release's chat template cannot be used: {reason}.",
                hint="The publisher must mend it; in Python, text of your own making needs no template.",
                architecture="",
            ) from error
        system = messages[0]["role"] == "system"
        raise UsageError(
            f"The release's chat template refuses these messages: {reason}.",
            hint="Leave the system message out." if system else "Its model card says what it takes.",
        ) from error
    except Exception as error:
        if "mistral_common" not in type(tokenizer).__module__:
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UsageError(
            f"The release's chat format refuses these messages: {reason.rstrip('.')}.",
            hint="A chat begins with a user's message or a system message, and they take turns.",
        ) from error


def generate(
    model: Any,
    tokenizer: Any,
    prompt: str | Sequence[Message],
    *,
    max_new_tokens: int = MAX_NEW_TOKENS,
    sampling: Sampling | None = None,
    system: str | None = None,
    on_text: Callable[[str], None] | None = None,
    enough: Callable[[], bool] | None = None,
) -> Generation:
    """Let a model continue a prompt.

    Args:
        model: a transformers model that can generate.
        tokenizer: its tokenizer.
        prompt: a text, or the messages of a chat so far.
        max_new_tokens: where to stop at the latest.
        sampling: how tokens are chosen; the likeliest by default.
        system: what the model is told before all else.
        on_text: given the text as it comes, in whole words.
        enough: asked after every token whether to stop there.

    Raises:
        UsageError: arguments that mean nothing, or a prompt longer than the model can take.
        UnsupportedModelError: the release's chat template cannot be used.
    """
    sampling = sampling or Sampling()
    sampling.check()
    if max_new_tokens < 1:
        raise UsageError(f"{max_new_tokens} tokens are none to wait for.", hint="Give a number from 1.")
    with quiet():
        tokens = encode(tokenizer, prompt, system=system).to(model.device)
    prompt_tokens = tokens.shape[-1]
    limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if isinstance(limit, int) and limit > 0:
        if prompt_tokens >= limit:
            what = "prompt" if isinstance(prompt, str) or len(prompt) == 1 else "conversation"
            raise UsageError(
                f"The {what} has {prompt_tokens} tokens; the model takes {limit} with the answer.",
                hint=f"Shorten the {what}.",
            )
        max_new_tokens = min(max_new_tokens, limit - prompt_tokens)
    streamer = _Streamer(tokenizer, on_text) if on_text else None
    stopping = _Enough(enough) if enough else None
    pad = model.generation_config.pad_token_id
    devices = {held.device for held in model.parameters() if held.device.type == "cuda"}
    # The caller's dice are left as they lie.
    dice = nullcontext() if sampling.seed is None else torch.random.fork_rng(list(devices))
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
            stopping_criteria=[stopping] if stopping else None,
            **sampling.options(),
        )
    seconds = time.monotonic() - started
    new = output[0] if model.config.is_encoder_decoder else output[0, prompt_tokens:]
    text = tokenizer.decode(new, skip_special_tokens=True)
    count = int(new.shape[-1])
    finish: Finish = "stop"
    if stopping is not None and stopping.said:
        finish = "interrupted"
    elif count >= max_new_tokens and int(new[-1]) not in _ends(model):
        finish = "length"
    return Generation(text, prompt_tokens, count, seconds, count / seconds if seconds else 0.0, finish)


def _ends(model: Any) -> set[int]:
    """The tokens that end an answer."""
    ends = model.generation_config.eos_token_id
    return set(ends) if isinstance(ends, (list, tuple)) else {ends} if isinstance(ends, int) else set()


class _Enough(StoppingCriteria):  # type: ignore[misc]
    """Stops where the caller says so."""

    def __init__(self, enough: Callable[[], bool]) -> None:
        self._enough = enough
        self.said = False

    def __call__(self, input_ids: torch.Tensor, scores: object, **_: object) -> torch.Tensor:
        self.said = self.said or self._enough()
        return torch.full((input_ids.shape[0],), self.said, dtype=torch.bool, device=input_ids.device)


class _Streamer(TextStreamer):  # type: ignore[misc]
    """Hands on the text in whole words."""

    def __init__(self, tokenizer: Any, on_text: Callable[[str], None]) -> None:
        super().__init__(tokenizer, skip_prompt=True, skip_special_tokens=True)
        self._on_text = on_text

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        """What transformers calls with every finished word."""
        if text:
            self._on_text(text)
