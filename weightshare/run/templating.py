"""Chat templates: programs of the publisher's in Jinja, run in transformers' sandbox, for a bounded time.

The sandbox keeps a template from Python's attributes and functions. It does not keep it from looping: that is stopped
here, and so is a text longer than any prompt. What one single operation of a template takes is not bounded.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from jinja2.exceptions import TemplateError

from weightshare.errors import UnsupportedModelError, UsageError

SECONDS = 10.0
"""Longest time that a template gets; an honest one takes milliseconds."""

LONGEST = 16 * 1024 * 1024
"""Most characters that it may make; the longest contexts of today are a quarter of it."""

_T = TypeVar("_T")


class _TooLongError(Exception):
    """Raised inside a template that does not end."""


def render(tokenizer: Any, messages: Sequence[Mapping[str, str]]) -> str:
    """The prompt that a tokenizer's chat template makes of messages.

    Args:
        tokenizer: one that has a chat template.
        messages: the chat so far.

    Raises:
        UsageError: the template refuses these messages.
        UnsupportedModelError: the template is no sound one, reaches for what the sandbox keeps, or does not end.
    """
    try:
        text = bounded(
            lambda: tokenizer.apply_chat_template(list(messages), add_generation_prompt=True, tokenize=False),
            SECONDS,
        )
    except _TooLongError:
        raise _unusable(f"it has not ended after {SECONDS:.0f} s") from None
    except TemplateError as error:
        reason = " ".join(str(error).split()).removesuffix(".")
        # transformers gives templates `raise_exception`, which raises this very class and none of those below it.
        if type(error) is not TemplateError:
            raise _unusable(reason) from error
        system = any(message["role"] == "system" for message in messages[:1])
        raise UsageError(
            f"The release's chat template refuses these messages: {reason}.",
            hint="Leave the system message out." if system else "Its model card says what it takes.",
        ) from error
    except Exception as error:  # whatever an expression of the template can raise
        raise _unusable(
            f"{type(error).__name__}: {' '.join(str(error).split()).removesuffix('.')}"
        ) from error
    if not isinstance(text, str) or len(text) > LONGEST:
        raise _unusable(f"it makes {len(text)} characters of {len(messages)} messages")
    return text


def by_mistral_common(tokenizer: Any) -> bool:
    """Whether a tokenizer is mistral-common's, which has no template: its chat format is code of its own."""
    return "mistral_common" in type(tokenizer).__module__


def mistral_tokens(tokenizer: Any, messages: Sequence[Mapping[str, str]]) -> Any:
    """The tokens that mistral-common makes of messages; what controls the model cannot be written as text there.

    Raises:
        UsageError: it refuses these messages.
    """
    try:
        return tokenizer.apply_chat_template(
            list(messages), add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UsageError(
            f"The release's chat format refuses these messages: {reason.rstrip('.')}.",
            hint="A chat begins with a user's message or a system message, and they take turns.",
        ) from error


def bounded(work: Callable[[], _T], seconds: float) -> _T:
    """Do some work in pure Python, in this thread, and break it off when it takes too long.

    A signal would do as well, but only in the main thread, and a server answers in others.
    """
    thread, lock, over = ctypes.c_ulong(threading.get_ident()), threading.Lock(), False

    def stop() -> None:
        with lock:
            if not over:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(_TooLongError))

    timer = threading.Timer(seconds, stop)
    timer.daemon = True
    timer.start()
    try:
        return work()
    finally:
        with lock:
            over = True
        timer.cancel()  # a call of a Python function: what was raised for us arrives here at the latest


def _unusable(reason: str) -> UnsupportedModelError:
    return UnsupportedModelError(
        f"The release's chat template cannot be used: {reason}.",
        hint="`weightshare inspect --chat-template` shows it. The publisher must mend it.",
        architecture="",
    )
