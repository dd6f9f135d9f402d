"""`run` and `from_pretrained`: proven weights on a device in a model, and what it says.

A release that is not here yet is fetched first, through the same gate. Nothing of it is used that was not hashed
against the signed manifest in this very process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from weightshare.api.adapting import base_of
from weightshare.api.opening import Loading, Release, open_release
from weightshare.api.repairing import Sources
from weightshare.api.repairing import repair as mend
from weightshare.api.results import Fetched, Ran
from weightshare.api.trusting import Trustee
from weightshare.content.home import Home
from weightshare.content.store import Store
from weightshare.errors import CorruptError
from weightshare.progress import Observer, ignore
from weightshare.run.sampling import Sampling
from weightshare.units import format_size

if TYPE_CHECKING:
    from weightshare.run.generation import Generation, Message
    from weightshare.run.transformers_runner import Runner


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


def _base(
    release: Release, named: str | Path | None, home: Home | None, trust: Sequence[str]
) -> Release | None:
    if named is None and not release.here:
        return None  # a model is loaded while it is fetched; to ask what it is would fetch it first
    home = home or Home.default()
    found = base_of(release.located, named, Store(home), Trustee(home, trust))
    return None if found is None else Release(found)


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
    repair: bool = False,
    allow_pickle: bool = False,
    base: str | Path | None = None,
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
        allow_pickle: likewise, and whether such files are fetched.
        base: for an adapter, the release or folder it was made for; by default the one that it names.
        repair: where bytes on this disk are not as signed, fetch the bad pieces anew and go on.
        fetching: further arguments of `fetch`; `network`, `peers`, `dht_nodes`, `port` and `timeout` hold for the
            repair too.

    Raises:
        WeightshareError: as `fetch` does; LoadError if the model cannot be used here.
    """
    if allow_pickle:
        fetching["allow_pickle"] = True
    release = open_release(source, home=home, trust=trust, **fetching)
    wanted = {each.name for each in fields(Sources)} & fetching.keys()
    opened = _opened(
        release,
        _base(release, base, home, trust),
        home=home,
        trust=trust,
        repair=Sources(**{name: fetching[name] for name in wanted}) if repair else None,
        observe=fetching.get("observe", ignore),
        how={
            "device": device,
            "dtype": dtype,
            "device_map": device_map,
            "private": private,
            "trust_receipt": trust_receipt,
            "allow_pickle": allow_pickle,
        },
    )
    return opened.model, opened.tokenizer


class OpenRunner:
    """A loaded model that answers again and again; a context manager.

    Attributes:
        release: `ORG/MODEL@VERSION`.
        device: where it runs, as torch writes it.
        chat: whether it answers messages; if not, it continues a text.
        model: the transformers model.
        tokenizer: its tokenizer, None if the release has none.
        repaired: bytes that were fetched anew, because those on the disk were not as signed.
    """

    def __init__(self, release: Release, runner: Runner, repaired: int = 0) -> None:
        self._release = release
        self._runner = runner
        self.repaired = repaired
        self.model = runner.model
        self.tokenizer = runner.tokenizer
        self.release = release.verified.release
        self.device = runner.state.device
        self.chat = runner.chat

    def __enter__(self) -> OpenRunner:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        self.model = self.tokenizer = None
        self._runner.close()

    def complete(self) -> Fetched | None:
        """Wait for what of the release is still to come; nothing is, where it was here before."""
        return None

    def generate(
        self, prompt: str | Sequence[Message], *, system: str | None = None, **how: Unpack[Generating]
    ) -> Generation:
        """Answer a prompt, or the last of the messages of a chat; see `run.transformers_runner.Runner.generate`."""
        return self._runner.generate(prompt, system=system, **how)

    def answered(self, answer: Generation) -> Ran:
        """An answer with the facts of how it came about."""
        verified, state = self._release.verified, self._runner.state
        mended = f"damaged on this disk; {format_size(self.repaired)} of it were fetched anew"
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
            repaired=self.repaired,
            warnings=(*verified.warnings, *self._runner.notes, *((mended,) if self.repaired else ())),
        )


def open_runner(
    release: str | Path,
    *,
    home: Home | None = None,
    trust: Sequence[str] = (),
    base: str | Path | None = None,
    repair: Sources | None = None,
    observe: Observer = ignore,
    **how: Unpack[Loading],
) -> OpenRunner:
    """Load a release once, to answer many times.

    Args:
        release: a name, an info-hash or a folder.
        home: where the store is.
        trust: fingerprints to pin if the publisher is unknown.
        base: for an adapter, the release or folder it was made for; by default the one that it names.
        repair: where bytes on this disk are not as signed, fetch the bad pieces from there and go on; None stops.
        observe: told how the loading goes, and the repair.
        **how: see `Loading`.

    Raises:
        ReleaseNotFoundError: it is not here.
        CorruptError: bytes are not what was signed.
        NetworkError: they are to be fetched anew, and did not come.
        LoadError: the model cannot be used here.
        UsageError: two of the arguments do not go together.
    """
    opened = open_release(release, home=home, trust=trust)
    below = _base(opened, base, home, trust)
    return _opened(opened, below, home=home, trust=trust, repair=repair, observe=observe, how=how)


def _opened(
    release: Release,
    base: Release | None,
    *,
    home: Home | None,
    trust: Sequence[str],
    repair: Sources | None,
    observe: Observer,
    how: Loading,
) -> OpenRunner:
    """Load a release; if its bytes are damaged and it may be repaired, once more after that."""
    try:
        return OpenRunner(release, release.runner(base=base, observe=observe, **how))
    except CorruptError as error:
        if repair is None:
            raise
        files = error.facts.get("files") or [error.facts.get("path")]
        damaged = {str(path) for path in files} if isinstance(files, (dict, list)) else set()
    home, fetched = home or Home.default(), 0

    def mended(one: Release) -> Release:
        nonlocal fetched
        if damaged.isdisjoint(entry.path for entry in one.verified.manifest.files):
            return one
        done = mend(one.located, damaged, repair, home=home, trust=trust, observe=observe)
        fetched += done.received.swarm
        return open_release(one.path, home=home, trust=trust)

    release, base = mended(release), mended(base) if base is not None else None
    return OpenRunner(release, release.runner(base=base, observe=observe, **how), fetched)


def run(
    release: str | Path,
    prompt: str | Sequence[Message],
    *,
    home: Home | None = None,
    trust: Sequence[str] = (),
    system: str | None = None,
    loading: Loading | None = None,
    repair: Sources | None = None,
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
        repair: as for `open_runner`.
        observe: told how the loading goes.
        **how: how it answers; see `Generating`.

    Raises:
        ReleaseNotFoundError: it is not here.
        CorruptError: bytes are not what was signed; the message names file and piece.
        LoadError: the model cannot be used here.
        UsageError: arguments that mean nothing, before anything is loaded where that can be told.
    """
    Sampling.of(how).check()
    with open_runner(
        release, home=home, trust=trust, repair=repair, observe=observe, **(loading or {})
    ) as runner:
        return runner.answered(runner.generate(prompt, system=system, **how))
