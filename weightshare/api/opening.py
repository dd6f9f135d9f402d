"""A release by name, folder or link, and its weights and its model from it: what `weightshare.open` gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from weightshare.api.fetching import already_here
from weightshare.api.offering import Located, locate
from weightshare.api.sources import is_file
from weightshare.api.trusting import Trustee
from weightshare.content.home import Home
from weightshare.content.store import Store
from weightshare.load.layouts import layout_of
from weightshare.manifest.magnet_repair import holds_link
from weightshare.progress import Observer, ignore
from weightshare.trust.gate import VerifiedManifest

if TYPE_CHECKING:
    import torch

    from weightshare.load.selection import Dims
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
        allow_pickle: load weights in Mistral's `consolidated.*.pth`: torch's restricted unpickler reads which tensors
            there are, out of proven bytes.
    """

    device: str
    dtype: str
    device_map: str | Mapping[str, str | int] | None
    private: bool
    trust_receipt: bool
    allow_pickle: bool


@dataclass(frozen=True, slots=True)
class Release:
    """A release on this disk whose manifest is verified. Its bytes are proven when they are loaded."""

    located: Located

    @property
    def here(self) -> bool:
        """Whether its files are on this disk already."""
        return True

    @property
    def verified(self) -> VerifiedManifest:
        """The signed manifest, verified."""
        return self.located.verified

    @property
    def path(self) -> Path:
        """The folder that holds the files."""
        return self.located.folder

    @property
    def components(self) -> tuple[str, ...]:
        """Of a pipeline of several models, the names that `state_dict` takes as `component`; else empty."""
        return tuple(layout_of([entry.path for entry in self.verified.manifest.files]).components)

    def state_dict(
        self,
        device: str = "auto",
        *,
        component: str = "",
        private: bool = False,
        names: Sequence[str] = (),
        exclude: Sequence[str] = (),
        rank: int = 0,
        of: int = 1,
        dims: Dims | None = None,
        allow_pickle: bool = False,
        observe: Observer = ignore,
    ) -> dict[str, torch.Tensor]:
        """The weights by tensor name, every byte proven on the way.

        With names, or as one rank of several, only the pieces that hold what is asked for are read and proven.

        Args:
            device: `auto`, `cpu`, `cuda` or another device that torch knows.
            component: of a pipeline of several models, the one to load, such as `unet`; see `components`.
            private: copy into memory of our own instead of mapping the files.
            names: tensors by name or glob, each of which must match one; none means all.
            exclude: names or globs of tensors to leave out.
            rank: for tensor parallelism, whose part, from 0.
            of: how many ranks there are.
            dims: name or glob to the dimension along which such tensors are split, or a function that tells it for a
                name; None asks transformers' own plan for the model.
            allow_pickle: load weights in Mistral's `consolidated.*.pth`; see `Loading`.
            observe: told how many bytes are proven.

        Raises:
            CorruptError: bytes are not what was signed.
            LoadError: torch or the device is missing, there are no weights it could hold, or transformers has no plan
                by which to split them.
            PickleError: the weights are pickles, and those were not allowed.
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
            component=component,
            allow_pickle=allow_pickle,
            observe=observe,
        )
        return state.tensors

    def runner(
        self, *, base: Release | None = None, observe: Observer = ignore, **how: Unpack[Loading]
    ) -> Runner:
        """The model, ready to answer; a context manager.

        Args:
            base: for an adapter, the model it was made for.
            observe: told how many bytes are proven.
            **how: see `Loading`.

        Raises:
            CorruptError: bytes are not what was signed.
            LoadError: the model cannot be used here.
            UsageError: two of the arguments do not go together.
        """
        if base is not None:
            from weightshare.run.adapters import attach

            return attach(
                base.runner(observe=observe, **how),
                self.verified,
                self.path,
                layers=self.located.layers,
                locations=self.located.locations,
            )
        from weightshare.run.transformers_runner import load

        return load(
            self.verified,
            self.path,
            device=how.get("device", "auto"),
            mode="private" if how.get("private", False) else "auto",
            dtype=how.get("dtype", "auto"),
            device_map=how.get("device_map"),
            layers=self.located.layers,
            locations=self.located.locations,
            receipts=self.located.receipts if how.get("trust_receipt", False) else None,
            allow_pickle=how.get("allow_pickle", False),
            observe=observe,
        )


def is_link(source: str) -> bool:
    """Whether a source says where to get a release, and does not name one that is here."""
    return source.startswith(_FROM_ELSEWHERE) or is_file(source) or holds_link(source)


def open_release(
    source: str | Path, *, home: Home | None = None, trust: Sequence[str] = (), **fetching: Any
) -> Release:
    """A release by name or folder, or by anything `fetch` takes.

    One that is not here is fetched when something of it is asked for, and its weights are loaded meanwhile.

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
    if is_link(text):
        here = already_here(text, home=home, trust=trust, **fetching)
        if here is None:
            from weightshare.api.streamed import LinkedRelease

            return LinkedRelease(text, home, trust, fetching)
        text = str(here.path)
    return Release(locate(Store(home), Trustee(home, trust), text))
