"""What callers hold of a release that is fetched and loaded at once: a model that answers, or a release by its link."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Unpack

from weightshare.api.fetching import fetch
from weightshare.api.offering import Located, locate
from weightshare.api.opening import Loading, Release
from weightshare.api.results import Fetched
from weightshare.api.running import OpenRunner
from weightshare.api.streaming import Streaming
from weightshare.api.trusting import Trustee
from weightshare.content.home import Home
from weightshare.content.store import Store
from weightshare.progress import Observer, ignore

if TYPE_CHECKING:
    import torch

    from weightshare.api.results import Ran
    from weightshare.run.generation import Generation
    from weightshare.run.transformers_runner import Runner


class StreamedRunner(OpenRunner):
    """A model that was loaded while it was fetched; leaving it waits until the fetch is over."""

    def __init__(self, streaming: Streaming, runner: Runner) -> None:
        super().__init__(streaming.release(), runner)
        self._streaming = streaming
        self._fetched: Fetched | None = None

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        try:
            super().__exit__(kind, error, trace)
            if error is None:
                self.complete()
        finally:
            self._streaming.__exit__(kind, error, trace)

    def complete(self) -> Fetched:
        """Wait until every file of the release is here and has its name."""
        self._fetched = self._streaming.fetched()
        return self._fetched

    def answered(self, answer: Generation) -> Ran:
        """An answer with the facts of how it came about, and of the fetch once that is over."""
        return replace(super().answered(answer), fetch=self._fetched)


def stream_runner(source: str, **how: Any) -> StreamedRunner:
    """A model that is ready to answer as soon as the last piece of its weights is proven.

    Args:
        source: as for `fetch`.
        **how: as for `Streaming`.

    Raises:
        WeightshareError: as of `fetch` and of `open_runner`.
    """
    streaming = Streaming(source, model=True, **how).__enter__()
    try:
        return StreamedRunner(streaming, streaming.runner())
    except BaseException as error:
        streaming.__exit__(type(error), error, error.__traceback__)
        raise


class LinkedRelease(Release):
    """A release by its link that is not here yet: it is fetched when something of it is asked for.

    Weights and models are loaded while they are fetched, and all of the release is here then. Only of tensors that are
    asked for by name or rank no more than their pieces come.
    """

    _source: str
    _how: dict[str, Any]
    _found: Located | None

    def __init__(self, source: str, home: Home, trust: Sequence[str], fetching: Mapping[str, Any]) -> None:
        how = {**fetching, "home": home, "trust": trust}
        vars(self).update(_source=source, _how=how, _found=None)  # a release is frozen

    @property
    def here(self) -> bool:
        """Whether it was fetched by now."""
        return self._found is not None

    @property
    def located(self) -> Located:
        """Where it is; the first time, it is fetched."""
        return self._found or self._arrived(fetch(self._source, **self._how))

    def _arrived(self, fetched: Fetched) -> Located:
        home = self._how["home"]
        found = locate(Store(home), Trustee(home, self._how["trust"]), str(fetched.path))
        vars(self)["_found"] = found
        return found

    def state_dict(
        self, device: str = "auto", *, private: bool = False, observe: Observer = ignore, **chosen: Any
    ) -> dict[str, torch.Tensor]:
        """The weights by tensor name, fetched and proven; see `Release.state_dict`.

        All of them are loaded while they are fetched. Some of them, by name or rank, are loaded once their pieces are
        here, and no others are fetched.
        """
        if not self.here and (chosen.get("names") or chosen.get("of", 1) != 1):
            part = self._part(chosen)
            return part.state_dict(device, private=private, observe=observe, **chosen)
        if self.here or any(chosen.values()):
            return super().state_dict(device, private=private, observe=observe, **chosen)
        loading: Loading = {"device": device, "private": private}
        with self._streaming(model=False, loading=loading, observe=observe) as streaming:
            tensors = streaming.tensors()
            self._arrived(streaming.fetched())
            return tensors

    def runner(
        self, *, base: Release | None = None, observe: Observer = ignore, **how: Unpack[Loading]
    ) -> Runner:
        """The model, ready to answer, fetched and proven; see `Release.runner`."""
        if self.here or base is not None:
            return super().runner(base=base, observe=observe, **how)
        with self._streaming(model=True, loading=how, observe=observe) as streaming:
            runner = streaming.runner()
            self._arrived(streaming.fetched())
            return runner

    def _part(self, chosen: Mapping[str, Any]) -> Release:
        """The release with the pieces that the tensors asked for need; it stays one that is not here."""
        asked = {name: chosen[name] for name in ("rank", "of", "dims") if name in chosen}
        fetched = fetch(self._source, tensors=tuple(chosen.get("names", ())), **asked, **self._how)
        home = self._how["home"]
        return Release(locate(Store(home), Trustee(home, self._how["trust"]), str(fetched.path)))

    def _streaming(self, *, model: bool, loading: Loading, observe: Observer) -> Streaming:
        how = {"observe": observe, **self._how}
        return Streaming(self._source, model=model, loading=loading, **how)
