"""A release that is fetched and loaded at once: what has landed is loaded while the rest is on its way.

Three threads beside the caller's: one fetches, one loads what has landed, and one makes the model around it. The caller
waits, answers the question whether a publisher is to be trusted, and stops all three when one of them fails or when it
is interrupted. What was fetched by then stays, and the same call goes on from there.

Where it cannot be done at once, the fetch comes first and then a load as of any release that is here: if the layout is
not transformers' own, if memory is too short for a copy of the weights, or if the model is spread over several devices.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from weightshare.api.fetching import fetch
from weightshare.api.following import Underway
from weightshare.api.forecasting import check_runnable
from weightshare.api.offering import Located, locate
from weightshare.api.opening import Loading, Release
from weightshare.api.ordering import FetchOrder
from weightshare.api.results import Fetched, StrangerInfo
from weightshare.api.trusting import Confirm, Trustee
from weightshare.content.home import Home
from weightshare.content.store import Store
from weightshare.errors import UnsupportedModelError, UsageError
from weightshare.load.arrivals import Aborted, Arrivals
from weightshare.load.layouts import layout_of
from weightshare.load.room import has_room
from weightshare.progress import Observer, Phase, Progress, ignore

if TYPE_CHECKING:
    import torch

    from weightshare.load.loader import LoadedState
    from weightshare.manifest.model import Manifest
    from weightshare.run.early_model import EarlyModel
    from weightshare.run.transformers_runner import Runner

_PATIENCE = 30.0
"""Seconds that a fetch has to put away what it has, once it is told to stop."""

_RUN_HERE = ("huggingface", "mistral", "gguf")


class _StoppedError(Exception):
    """The fetch is not wanted any more."""


@dataclass(slots=True)
class _Question:
    stranger: StrangerInfo
    reply: queue.SimpleQueue[bool] = field(default_factory=queue.SimpleQueue)


@dataclass(slots=True)
class _Outcome:
    """How a thread ended: with a result or an error."""

    of: str
    result: Any = None
    error: BaseException | None = None


class Streaming:
    """One fetch with a load beside it; a context manager that ends both. It follows the fetch (`following.Follower`).

    Args:
        source: as for `fetch`.
        model: whether a model is wanted, or the tensors alone.
        answers: whether the model is to answer prompts, so that it needs a tokenizer and a head that writes.
        loading: how to load; see `running.Loading`.
        directory: as for `fetch`.
        home: as for `fetch`.
        trust: as for `fetch`.
        confirm: as for `fetch`; called from the thread that waits.
        observe: told how both go; from several threads.
        **fetching: further arguments of `fetch`.
    """

    def __init__(
        self,
        source: str,
        *,
        model: bool,
        answers: bool = False,
        loading: Loading | None = None,
        directory: str | Path | None = None,
        home: Home | None = None,
        trust: Sequence[str] = (),
        confirm: Confirm | None = None,
        observe: Observer = ignore,
        **fetching: Any,
    ) -> None:
        self._source = source
        self._model = model
        self._answers = answers
        self._loading: Loading = loading or {}
        self._directory = directory
        self._home = home or Home.default()
        self._trust = trust
        self._confirm = confirm
        self._progress = _Both(observe)
        self._fetching = {"order": FetchOrder.MODEL, **fetching}
        self._inbox: queue.SimpleQueue[_Question | _Outcome] = queue.SimpleQueue()
        self._results: dict[str, Any] = {}
        self._threads: dict[str, threading.Thread] = {}
        self._stopping = threading.Event()
        self._underway: Underway | None = None
        self._arrivals: list[Arrivals] = []
        self._early: EarlyModel | None = None
        self._note = ""

    def __enter__(self) -> Self:
        if self._model:
            self._start("import", _import)  # seconds, which the fetch need not wait for
        self._start("fetch", self._fetch)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        for arrivals in self._arrivals:
            arrivals.abort()
        if self._early is not None:
            self._early.abort()
        for name, thread in self._threads.items():
            if name != "import":
                thread.join(_PATIENCE)

    # ---- what the caller waits for

    def tensors(self) -> dict[str, torch.Tensor]:
        """The weights by tensor name, once all are proven; the fetch may still have other files to bring.

        Raises:
            WeightshareError: as of `fetch` and `Release.state_dict`.
        """
        self._wait(lambda: "load" in self._results or ("fetch" in self._results and not self._beside))
        if self._beside:
            state: LoadedState = self._results["load"]
            return state.tensors
        return self.release().state_dict(
            self._loading.get("device", "auto"),
            private=self._loading.get("private", False),
            observe=self._progress.load,
        )

    def runner(self) -> Runner:
        """The model, once all its weights are proven; the fetch may still have other files to bring.

        Raises:
            WeightshareError: as of `fetch` and `Release.runner`.
        """
        self._wait(
            lambda: (
                {"load", "model"} <= self._results.keys() or ("fetch" in self._results and not self._beside)
            )
        )
        if self._beside and self._early is not None:
            return self._early.finish(self._results["load"])
        runner = self.release().runner(observe=self._progress.load, **self._loading)
        if self._note:
            runner.notes = (*runner.notes, self._note)
        return runner

    def release(self) -> Release:
        """The release, as it lies here or will; after one of the above."""
        if self._underway is not None and "fetch" not in self._results:
            its = self._underway
            return Release(Located(its.verified, its.folder, its.layers, None, {}))
        path = str(self.fetched().path)
        return Release(locate(Store(self._home), Trustee(self._home, self._trust), path))

    def fetched(self) -> Fetched:
        """What the fetch brought, once it is over.

        Raises:
            WeightshareError: as of `fetch`.
        """
        self._wait(lambda: "fetch" in self._results)
        fetched: Fetched = self._results["fetch"]
        return fetched

    @property
    def _beside(self) -> bool:
        return bool(self._arrivals)

    def _wait(self, done: Callable[[], bool]) -> None:
        while not done():
            try:
                message = self._inbox.get(timeout=1.0)  # or Ctrl-C would not come through everywhere
            except queue.Empty:
                continue
            if isinstance(message, _Question):
                message.reply.put(self._confirm is not None and self._confirm(message.stranger))
            elif message.error is not None:
                raise message.error
            else:
                self._results[message.of] = message.result

    # ---- threads

    def _start(self, name: str, work: Callable[[], Any]) -> None:
        def run() -> None:
            try:
                self._inbox.put(_Outcome(name, work()))
            except (Aborted, _StoppedError):
                pass
            except BaseException as error:
                self._inbox.put(_Outcome(name, error=error))

        self._threads[name] = threading.Thread(target=run, name=f"weightshare-{name}", daemon=True)
        self._threads[name].start()

    def _fetch(self) -> Fetched:
        how: dict[str, Any] = self._fetching
        fetched = fetch(
            self._source,
            self._directory,
            home=self._home,
            trust=self._trust,
            confirm=self._ask if self._confirm is not None else None,
            follower=self,
            observe=self._observe,
            **how,
        )
        self._progress.over()
        for arrivals in self._arrivals:
            arrivals.end(fetched.path)
        return fetched

    def _observe(self, progress: Progress) -> None:
        self._check()
        self._progress.fetch(progress)

    def _ask(self, stranger: StrangerInfo) -> bool:
        question = _Question(stranger)
        self._inbox.put(question)
        while True:
            self._check()
            try:
                return question.reply.get(timeout=0.2)
            except queue.Empty:
                continue

    def _check(self) -> None:
        if self._stopping.is_set():
            raise _StoppedError

    # ---- what the fetch tells

    def begin(self, underway: Underway) -> None:
        """Refuse what cannot be run, and start to load."""
        manifest = underway.verified.manifest
        release = underway.verified.release
        layout = layout_of([entry.path for entry in manifest.files])
        if self._model:
            _refuse(
                manifest, answers=self._answers, allow_pickle=bool(self._fetching.get("allow_pickle", False))
            )
        if missing := [path for path in layout.weights if path not in underway.locations]:
            raise UsageError(
                f"{missing[0]} is one of the weights of {release}, and is not among the files asked for.",
                hint="Leave out --include and --exclude, or fetch without running.",
            )
        self._underway = underway
        sizes = {entry.path: entry.size for entry in manifest.files}
        weights = sum(sizes[path] for path in layout.weights)
        if layout.kind != "huggingface" or self._loading.get("device_map") is not None:
            return
        if not _has_room(self._loading.get("device", "auto"), weights):
            self._note = "Memory is too short for a copy of the weights, so they were loaded after the fetch."
            return
        load = Arrivals(sizes, manifest.torrent.piece_length)
        self._arrivals.append(load)
        if self._model:
            from weightshare.run.early_model import EarlyModel

            self._arrivals.append(Arrivals(sizes, manifest.torrent.piece_length))
            self._early = EarlyModel(
                underway.verified,
                self._arrivals[-1],
                underway.locations,
                dtype=self._loading.get("dtype", "auto"),
            )
            self._start("model", self._early.run)
        self._start("load", lambda: self._load(underway, load))

    def piece(self, path: str, number: int, *, proven: bool) -> None:
        """Hand it on."""
        self._check()
        for arrivals in self._arrivals:
            arrivals.piece(path, number, proven=proven)

    def _load(self, underway: Underway, arrivals: Arrivals) -> LoadedState:
        from weightshare.load.loader import choose

        choose("auto", "auto")  # says what to install where torch is missing
        from weightshare.load.streaming import StreamingLoad

        return StreamingLoad(
            underway.verified,
            arrivals,
            underway.locations,
            layers=underway.layers,
            device=self._loading.get("device", "auto"),
            observe=self._progress.load,
            early=self._early.give if self._early is not None else lambda _: None,
        ).run()


class _Both:
    """Two reports as one: while files are fetched, what is loaded of them is told beside it."""

    def __init__(self, observe: Observer) -> None:
        self._observe = observe
        self._loaded: int | None = None
        self._fetching = True

    def fetch(self, progress: Progress) -> None:
        """How the fetch goes."""
        beside = progress.phase in (Phase.FETCHING, Phase.PROVING)
        self._observe(replace(progress, loaded=self._loaded) if beside else progress)

    def load(self, progress: Progress) -> None:
        """How the load goes."""
        self._loaded = progress.done
        if not self._fetching:
            self._observe(progress)

    def over(self) -> None:
        """The fetch is over."""
        self._fetching = False


def _import() -> None:
    from weightshare.run.transformers_runner import import_runner

    import_runner()


def _has_room(device: str, size: int) -> bool:
    """Whether a copy fits on the CPU; a device says so itself, when it is asked for memory."""
    return device not in ("auto", "cpu") or has_room(size)


def _refuse(manifest: Manifest, *, answers: bool, allow_pickle: bool) -> None:
    """Say before anything heavy is fetched what a release lacks to be run."""
    paths = [entry.path for entry in manifest.files]
    if answers:
        check_runnable(manifest.release, paths, allow_pickle=allow_pickle)
    layout = layout_of(paths)
    if layout.kind not in _RUN_HERE:
        raise UnsupportedModelError(
            f"{manifest.release} is {layout.what}: it cannot be run by its link.",
            hint="`weightshare fetch` without --run brings and proves its files all the same.",
            architecture="",
        )
