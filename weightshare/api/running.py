"""`run`, `open`, `from_pretrained`: proven weights on a device, and what a model says.

A release that is not here yet is fetched first, through the same gate. Nothing of it is used that was not hashed
against the signed manifest in this very process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from weightshare.api.fetching import fetch
from weightshare.api.offering import Located, locate
from weightshare.api.results import Ran
from weightshare.api.trusting import Trustee
from weightshare.content.store import Home, Store
from weightshare.progress import Observer, ignore
from weightshare.run.sampling import Sampling
from weightshare.trust.gate import VerifiedManifest

if TYPE_CHECKING:
    import torch

    from weightshare.run.generation import Generation, Message
    from weightshare.run.transformers_runner import Runner

_FROM_ELSEWHERE = ("magnet:", "http://", "https://")


class Loading(TypedDict, total=False):
    """How a model is loaded; what `from_pretrained`, `open_runner`, `run` and `Release.runner` have in common.

    Keys:
        device: `auto` (a GPU if there is one), `cpu`, `cuda`, `cuda:1`, `mps` or another device that torch knows.
        dtype: `auto` (as published), `bf16`, `fp16` or `fp32`: weights are cast once they are proven.
        device_map: spreads the model over several devices: `auto`, `balanced`, `balanced_low_0`, `sequential`, or a
            mapping of module names to devices. Needs the package accelerate. Not together with `device`.
        private: copy the weights into memory of our own instead of mapping the files.
        trust_receipt: skip the hash of files that have not changed since they were last proven here. It does not
            notice a disk that returns other bytes, nor whoever can write its files and set its clock.
    """

    device: str
    dtype: str
    device_map: str | Mapping[str, str | int] | None
    private: bool
    trust_receipt: bool


@dataclass(frozen=True, slots=True)
class Release:
    """A release on this disk whose manifest is verified. Its bytes are proven when they are loaded."""

    located: Located

    @property
    def verified(self) -> VerifiedManifest:
        """The signed manifest, verified."""
        return self.located.verified

    @property
    def path(self) -> Path:
        """The folder that holds the files."""
        return self.located.folder

    def state_dict(
        self, device: str = "auto", *, private: bool = False, observe: Observer = ignore
    ) -> dict[str, torch.Tensor]:
        """The weights by tensor name, every byte proven on the way.

        Args:
            device: `auto`, `cpu`, `cuda` or another device that torch knows.
            private: copy into memory of our own instead of mapping the files.
            observe: told how many bytes are proven.

        Raises:
            CorruptError: bytes are not what was signed.
            LoadError: torch or the device is missing, or there are no weights it could hold.
        """
        from weightshare.load.loader import state_dict

        state = state_dict(
            self.verified,
            self.path,
            device=device,
            mode="private" if private else "auto",
            layers=self.located.layers,
            locations=self.located.locations,
            observe=observe,
        )
        return state.tensors

    def runner(self, *, observe: Observer = ignore, **how: Unpack[Loading]) -> Runner:
        """The model, ready to answer; a context manager.

        Args:
            observe: told how many bytes are proven.
            **how: see `Loading`.

        Raises:
            CorruptError: bytes are not what was signed.
            LoadError: the model cannot be used here.
            UsageError: two of the arguments do not go together.
        """
        from weightshare.run.transformers_runner import load

        return load(
            self.verified,
            self.path,
            device=how.get("device", "auto"),
            mode="private" if how.get("private", False) else "auto",
            dtype=how.get("dtype", "auto"),
            layers=self.located.layers,
            locations=self.located.locations,
            observe=observe,
            receipts=self.located.receipts if how.get("trust_receipt", False) else None,
        )


def open_release(
    source: str | Path, *, home: Home | None = None, trust: Sequence[str] = (), **fetching: Any
) -> Release:
    """A release by name or folder, or by anything `fetch` takes: then it is fetched first unless it is here.

    Args:
        source: a release, a folder, a magnet link, an info-hash, a `.torrent`.
        home: where the store is.
        trust: fingerprints to pin if the publisher is unknown.
        fetching: further arguments of `fetch`, such as `network` and `peers`.

    Raises:
        WeightshareError: as `fetch` and `verify` do.
    """
    home = home or Home.default()
    text = str(source)
    if text.startswith(_FROM_ELSEWHERE) or (Path(text).is_file() and not Path(text).is_dir()):
        text = str(fetch(text, home=home, trust=trust, **fetching).path)
    return Release(locate(Store(home), Trustee(home, trust), text))


def from_pretrained(
    source: str | Path,
    *,
    home: Home | None = None,
    trust: Sequence[str] = (),
    device: str = "auto",
    dtype: str = "auto",
    device_map: str | Mapping[str, str | int] | None = None,
    private: bool = False,
    trust_receipt: bool = False,
    **fetching: Any,
) -> tuple[Any, Any]:
    """A transformers model and its tokenizer (None if there is none), from proven bytes alone.

    Args:
        source: as for `open_release`.
        home: where the store is.
        trust: fingerprints to pin if the publisher is unknown.
        device: see `Loading`, as for the following ones.
        dtype: likewise.
        device_map: likewise.
        private: likewise.
        trust_receipt: likewise.
        fetching: further arguments of `fetch`.

    Raises:
        WeightshareError: as `fetch` does; LoadError if the model cannot be used here.
    """
    release = open_release(source, home=home, trust=trust, **fetching)
    runner = release.runner(
        device=device, dtype=dtype, device_map=device_map, private=private, trust_receipt=trust_receipt
    )
    return runner.model, runner.tokenizer


class OpenRunner:
    """A loaded model that answers again and again; a context manager.

    Attributes:
        release: `ORG/MODEL@VERSION`.
        device: where it runs, as torch writes it.
        chat: whether it answers messages; if not, it continues a text.
    """

    def __init__(self, release: Release, runner: Runner) -> None:
        self._release = release
        self._runner = runner
        self.release = release.verified.release
        self.device = runner.state.device
        self.chat = runner.chat

    def __enter__(self) -> OpenRunner:
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.close()

    def generate(
        self, prompt: str | Sequence[Message], *, system: str | None = None, **how: Unpack[Generating]
    ) -> Generation:
        """Answer a prompt, or the last of the messages of a chat; see `run.transformers_runner.Runner.generate`."""
        return self._runner.generate(prompt, system=system, **how)

    def answered(self, answer: Generation) -> Ran:
        """An answer with the facts of how it came about."""
        verified, state = self._release.verified, self._runner.state
        return Ran(
            release=verified.release,
            publisher=verified.fingerprint,
            publisher_name=verified.publisher_name,
            text=answer.text,
            device=state.device,
            load_mode=state.mode,
            load_bytes=state.bytes,
            load_trusted=state.trusted_bytes,
            load_seconds=state.seconds,
            tokens=answer.tokens,
            tokens_per_second=answer.tokens_per_second,
            finish=answer.finish,
            warnings=(*verified.warnings, *self._runner.notes),
        )


class Generating(TypedDict, total=False):
    """How a model answers; see `run.transformers_runner.Runner.generate` for each."""

    max_new_tokens: int
    seed: int | None
    temperature: float | None
    top_p: float | None
    top_k: int | None
    repetition_penalty: float | None
    on_text: Callable[[str], None] | None
    enough: Callable[[], bool] | None


def open_runner(
    release: str | Path,
    *,
    home: Home | None = None,
    trust: Sequence[str] = (),
    observe: Observer = ignore,
    **how: Unpack[Loading],
) -> OpenRunner:
    """Load a release once, to answer many times.

    Args:
        release: a name, an info-hash or a folder.
        home: where the store is.
        trust: fingerprints to pin if the publisher is unknown.
        observe: told how the loading goes.
        **how: see `Loading`.

    Raises:
        ReleaseNotFoundError: it is not here.
        CorruptError: bytes are not what was signed.
        LoadError: the model cannot be used here.
        UsageError: two of the arguments do not go together.
    """
    opened = open_release(release, home=home, trust=trust)
    return OpenRunner(opened, opened.runner(observe=observe, **how))


def run(
    release: str | Path,
    prompt: str | Sequence[Message],
    *,
    home: Home | None = None,
    trust: Sequence[str] = (),
    system: str | None = None,
    loading: Loading | None = None,
    observe: Observer = ignore,
    **how: Unpack[Generating],
) -> Ran:
    """Load a release, every byte proven, and answer one prompt.

    Args:
        release: a name, an info-hash or a folder.
        prompt: the text to answer; a chat template is used where the tokenizer has one. Or the messages of a chat.
        home: where the store is.
        trust: fingerprints to pin if the publisher is unknown.
        system: what the model is told before all else.
        loading: how it is loaded; see `Loading`.
        observe: told how the loading goes.
        **how: how it answers; see `Generating`.

    Raises:
        ReleaseNotFoundError: it is not here.
        CorruptError: bytes are not what was signed; the message names file and piece.
        LoadError: the model cannot be used here.
        UsageError: arguments that mean nothing, before anything is loaded where that can be told.
    """
    Sampling.of(how).check()
    with open_runner(release, home=home, trust=trust, observe=observe, **(loading or {})) as runner:
        return runner.answered(runner.generate(prompt, system=system, **how))
