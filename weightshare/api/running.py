"""`run`, `open`, `from_pretrained`: proven weights on a device, and what a model says.

A release that is not here yet is fetched first, through the same gate. Nothing of it is used that was not hashed
against the signed manifest in this very process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weightshare.api.fetching import fetch
from weightshare.api.offering import Located, locate
from weightshare.api.results import Ran
from weightshare.api.trusting import Trustee
from weightshare.content.store import Home, Store
from weightshare.progress import Observer, ignore
from weightshare.trust.gate import VerifiedManifest

if TYPE_CHECKING:
    import torch

    from weightshare.load.selection import Dims
    from weightshare.run.generation import Generation, Message
    from weightshare.run.transformers_runner import Runner

_FROM_ELSEWHERE = ("magnet:", "http://", "https://")


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
        self,
        device: str = "auto",
        *,
        private: bool = False,
        names: Sequence[str] = (),
        exclude: Sequence[str] = (),
        rank: int = 0,
        of: int = 1,
        dims: Dims | None = None,
        observe: Observer = ignore,
    ) -> dict[str, torch.Tensor]:
        """The weights by tensor name, every byte proven on the way.

        With names, or as one rank of several, only the pieces that hold what is asked for are read and proven.

        Args:
            device: `auto`, `cpu`, `cuda` or another device that torch knows.
            private: copy into memory of our own instead of mapping the files.
            names: tensors by name or glob, each of which must match one; none means all.
            exclude: names or globs of tensors to leave out.
            rank: for tensor parallelism, whose part, from 0.
            of: how many ranks there are.
            dims: name or glob to the dimension along which such tensors are split, or a function that tells it for a
                name; none asks transformers' own plan for the model.
            observe: told how many bytes are proven.

        Raises:
            CorruptError: bytes are not what was signed.
            LoadError: torch or the device is missing, there are no weights it could hold, or transformers has no plan
                by which to split them.
            UsageError: a name that no tensor has, or no such rank; the hint has names like it.
        """
        from weightshare.load.loader import state_dict
        from weightshare.load.selection import Selection

        if of > 1 and not dims:
            from weightshare.run.parallel import plan_of

            dims = plan_of(self.verified, self.path, self.located.locations)
        select = Selection(tuple(names), tuple(exclude), rank, of, dims or {})
        state = state_dict(
            self.verified,
            self.path,
            device=device,
            mode="private" if private else "auto",
            layers=self.located.layers,
            locations=self.located.locations if select.everything else self.located.held,
            select=select,
            observe=observe,
        )
        return state.tensors

    def runner(self, device: str = "auto", *, private: bool = False, observe: Observer = ignore) -> Runner:
        """The model, ready to answer; a context manager.

        Raises:
            CorruptError: bytes are not what was signed.
            LoadError: the model cannot be used here.
        """
        from weightshare.run.transformers_runner import load

        return load(
            self.verified,
            self.path,
            device=device,
            mode="private" if private else "auto",
            layers=self.located.layers,
            locations=self.located.locations,
            observe=observe,
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
    device: str = "auto",
    private: bool = False,
    home: Home | None = None,
    trust: Sequence[str] = (),
    **fetching: Any,
) -> tuple[Any, Any]:
    """A transformers model and its tokenizer (None if there is none), from proven bytes alone.

    Args:
        source: as for `open_release`.
        device: `auto`, `cpu`, `cuda` or another device that torch knows.
        private: copy into memory of our own instead of mapping the files.
        home: where the store is.
        trust: fingerprints to pin if the publisher is unknown.
        fetching: further arguments of `fetch`.

    Raises:
        WeightshareError: as `fetch` does; LoadError if the model cannot be used here.
    """
    release = open_release(source, home=home, trust=trust, **fetching)
    runner = release.runner(device, private=private)
    return runner.model, runner.tokenizer


class OpenRunner:
    """A loaded model that answers again and again; a context manager.

    Attributes:
        release: `ORG/MODEL@VERSION`.
        device: where it runs, as torch writes it.
    """

    def __init__(self, release: Release, runner: Runner) -> None:
        self._release = release
        self._runner = runner
        self.release = release.verified.release
        self.device = runner.state.device

    def __enter__(self) -> OpenRunner:
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.close()

    def generate(
        self,
        prompt: str | Sequence[Message],
        *,
        max_new_tokens: int = 256,
        seed: int | None = None,
        on_text: Callable[[str], None] | None = None,
    ) -> Generation:
        """Answer a prompt, or the last of the messages of a chat; see `run.transformers_runner.Runner.generate`."""
        return self._runner.generate(prompt, max_new_tokens=max_new_tokens, seed=seed, on_text=on_text)

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
            load_seconds=state.seconds,
            tokens=answer.tokens,
            tokens_per_second=answer.tokens_per_second,
            warnings=(*verified.warnings, *self._runner.notes),
        )


def open_runner(
    release: str,
    *,
    home: Home | None = None,
    trust: Sequence[str] = (),
    device: str = "auto",
    private: bool = False,
    observe: Observer = ignore,
) -> OpenRunner:
    """Load a release once, to answer many times.

    Raises:
        ReleaseNotFoundError: it is not here.
        CorruptError: bytes are not what was signed.
        LoadError: the model cannot be used here.
    """
    opened = open_release(release, home=home, trust=trust)
    return OpenRunner(opened, opened.runner(device, private=private, observe=observe))


def run(
    release: str,
    prompt: str,
    *,
    home: Home | None = None,
    trust: Sequence[str] = (),
    device: str = "auto",
    private: bool = False,
    max_new_tokens: int = 256,
    seed: int | None = None,
    on_text: Callable[[str], None] | None = None,
    observe: Observer = ignore,
) -> Ran:
    """Load a release, every byte proven, and answer one prompt.

    Args:
        release: a name, an info-hash or a folder.
        prompt: the text to answer; a chat template is used where the tokenizer has one.
        home: where the store is.
        trust: fingerprints to pin if the publisher is unknown.
        device: `auto`, `cpu` or `cuda`.
        private: copy the weights instead of mapping them.
        max_new_tokens: where the answer ends at the latest.
        seed: draws tokens, the same ones for the same seed; without it the likeliest is taken each time.
        on_text: given the answer as it comes.
        observe: told how the loading goes.

    Raises:
        ReleaseNotFoundError: it is not here.
        CorruptError: bytes are not what was signed; the message names file and piece.
        LoadError: the model cannot be used here.
    """
    with open_runner(
        release, home=home, trust=trust, device=device, private=private, observe=observe
    ) as runner:
        return runner.answered(
            runner.generate(prompt, max_new_tokens=max_new_tokens, seed=seed, on_text=on_text)
        )
