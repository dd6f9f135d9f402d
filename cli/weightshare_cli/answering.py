"""Answering with a release: the options that say how, and one prompt, a prompt on stdin, or a chat.

For every command that ends with a model that is ready; what makes it ready is the command's own business.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import click

from weightshare.errors import UsageError
from weightshare.progress import Observer
from weightshare.units import format_size
from weightshare_cli import missing_pages, output, progress
from weightshare_cli import options as shared
from weightshare_cli.gathering import gathered
from weightshare_cli.options import Settings
from weightshare_cli.writing import Writer

if TYPE_CHECKING:
    from weightshare.api.results import Ran
    from weightshare.api.running import OpenRunner


MAX_PROMPT = 1024 * 1024
"""Longest prompt, in characters."""

_DEVICE = re.compile(r"auto|cpu|mps|(cuda|xpu)(:\d{1,3})?")


@dataclass(frozen=True, slots=True)
class Answering:
    """How to load and how to answer, as the command line says it; see the help of each option."""

    max_new_tokens: int = 256
    seed: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    repetition_penalty: float | None = None
    system: str | None = None
    dtype: str = "auto"
    device: str = "auto"
    device_map: str | None = None
    private: bool = False
    trust_receipt: bool = False

    def loading(self) -> dict[str, Any]:
        """The arguments of `open_runner` that say how to load."""
        return {
            "device": self.device,
            "dtype": self.dtype,
            "device_map": self.device_map,
            "private": self.private,
            "trust_receipt": self.trust_receipt,
        }

    def generating(self) -> dict[str, Any]:
        """The arguments of `OpenRunner.generate` that say how to answer, `system` aside."""
        return {
            "max_new_tokens": self.max_new_tokens,
            "seed": self.seed,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": self.top_k,
            "repetition_penalty": self.repetition_penalty,
        }

    def check(self) -> None:
        """Refuse values that mean nothing, before anything is fetched or loaded.

        Raises:
            UsageError: which, and what would do.
        """
        from weightshare.run.sampling import Sampling

        Sampling.of(self.generating()).check()
        if self.device_map is not None and self.device != "auto":
            raise UsageError(
                "--device names one device and --device-map spreads the model over several.",
                hint="Give one of the two.",
            )


NAMES = tuple(field.name for field in fields(Answering))
"""The parameters that `options` adds."""


def answer(
    settings: Settings,
    open_runner: Callable[[Observer], OpenRunner],
    prompt: str | None,
    answering: Answering,
) -> None:
    """Answer a prompt on stdout; without one, chat on a terminal, else take the prompt from stdin.

    What comes on stdin beside a prompt goes before it, as in `cat story.txt | … 'Sum this up.'`.

    Args:
        settings: of this call.
        open_runner: makes the model ready, telling the observer how it goes; called once.
        prompt: what the command line says, if it does.
        answering: how.

    Raises:
        UsageError: no prompt, or one that is too long; before anything is loaded.
        WeightshareError: as `open_runner` and generating do.
    """
    answering.check()
    missing_pages.guard(settings)
    if prompt is None and sys.stdin.isatty() and not settings.json:
        from weightshare_cli.chat import chat

        chat(settings, open_runner, answering)
        return
    words = _words(prompt)
    with progress.reporter(settings) as observe, open_runner(observe) as runner:
        settings.last = None  # an interruption from now on is none of the loading
        writer = Writer(observe)
        said = runner.generate(
            words,
            system=answering.system,
            on_text=None if settings.json else writer.write,
            **answering.generating(),
        )
        runner.complete()
        ran = runner.answered(said)
        observe.stop()
    if settings.json:
        output.say_json(ran.to_json())
        return
    writer.end(ran.text)
    output.warn(ran.warnings)
    if ran.fetch is not None:
        output.warn([warning for warning in ran.fetch.warnings if warning not in ran.warnings])
    if not settings.quiet:
        output.note(cost(ran))
        if ran.fetch is not None:
            output.note(f"{format_size(ran.fetch.bytes)} fetched and proven, in {ran.fetch.path}")


def cost(ran: Ran) -> str:
    """What an answer took, on one line."""
    hashed = ran.load_bytes - ran.load_trusted
    how = "proven and loaded" if not ran.load_trusted else f"loaded, {format_size(hashed)} of it proven,"
    return (
        f"{format_size(ran.load_bytes)} {how} in {output.took(ran.load_seconds)}; "
        f"{ran.tokens} tokens at {ran.tokens_per_second:.1f} a second on {ran.device}"
    )


def _words(prompt: str | None) -> str:
    """The prompt, after what stdin brings, where it brings something."""
    piped = "" if sys.stdin.isatty() else sys.stdin.read(MAX_PROMPT + 1).strip()
    words = "\n\n".join(part for part in (piped, (prompt or "").strip()) if part)
    if not words or len(words) > MAX_PROMPT:
        found = "nothing" if not words else f"more than {format_size(MAX_PROMPT)}"
        raise UsageError(
            f"Expected a prompt as the second argument or on stdin; found {found}.",
            hint="Give one to answer, such as 'What is the capital of France?'.",
        )
    return words


def _device(ctx: click.Context, parameter: click.Parameter, value: str) -> str:
    if not _DEVICE.fullmatch(value):
        raise click.BadParameter(f"{value!r} is none of auto, cpu, cuda, cuda:N and mps.", ctx, parameter)
    return value


def _option(*names: str, help_text: str, **kwargs: Any) -> Callable[[Any], Any]:
    return click.option(*names, cls=shared.Option, help=help_text, **kwargs)


_OPTIONS = (
    _option("--system", metavar="TEXT", help_text="Tell the model first who it is and what to heed."),
    _option(
        "--max-new-tokens",
        type=click.IntRange(min=1),
        metavar="N",
        default=256,
        show_default=True,
        help_text="Longest answer, in tokens.",
    ),
    _option(
        "--seed",
        type=int,
        metavar="N",
        help_text="Draw tokens, the same for the same N. Default: always the likeliest.",
    ),
    _option("--temperature", type=float, metavar="T", help_text="Draw tokens; above 1 wilder, below tamer."),
    _option("--top-p", type=float, metavar="P", help_text="Draw from the likeliest that add up to P."),
    _option("--top-k", type=int, metavar="K", help_text="Draw from the K likeliest."),
    _option(
        "--repetition-penalty",
        type=float,
        metavar="R",
        help_text="Make tokens that were used less likely; 1: no penalty. Draws nothing by itself.",
    ),
)
_LOADING = (
    _option(
        "--dtype",
        type=click.Choice(["auto", "bf16", "fp16", "fp32"]),
        metavar="auto|bf16|fp16|fp32",
        default="auto",
        show_default=True,
        help_text="Compute in this; weights are cast once they are proven. auto: as published.",
    ),
    _option(
        "--device",
        callback=_device,
        metavar="DEVICE",
        default="auto",
        show_default=True,
        help_text="Where to run: auto, cpu, cuda, cuda:N or mps.",
    ),
    _option(
        "--device-map",
        type=click.Choice(["auto", "balanced", "balanced_low_0", "sequential"]),
        metavar="auto|balanced|…",
        help_text="Spread the model over all GPUs: auto, balanced, balanced_low_0 or sequential.",
    ),
    _option(
        "--private",
        is_flag=True,
        help_text="Copy the weights into memory of its own instead of mapping the files.",
    ),
    _option(
        "--trust-receipt",
        is_flag=True,
        help_text="Skip the hash of files that have not changed since they were last proven here. Does not "
        "notice a disk that returns other bytes, nor whoever can write its files and set its clock.",
    ),
)

options = gathered("answering", Answering, (*_OPTIONS, *_LOADING))
"""The options of a command that answers; it is called with one `answering: Answering`."""

loading_options = gathered("answering", Answering, _LOADING, tuple(Answering().loading()))
"""The options that say how a model is loaded, alone; the command is called with one `answering: Answering`."""
