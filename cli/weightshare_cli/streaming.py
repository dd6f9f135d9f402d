"""A link that answers: the release is fetched, and loaded meanwhile, with progress and questions on the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from weightshare.progress import Observer
from weightshare_cli import output, progress
from weightshare_cli.answering import Answering
from weightshare_cli.asking import ask_about, can_ask
from weightshare_cli.home import home_of
from weightshare_cli.options import Settings

if TYPE_CHECKING:
    from weightshare.api.results import StrangerInfo
    from weightshare.api.running import OpenRunner


def open_link(
    settings: Settings,
    observe: Observer,
    source: str,
    answering: Answering,
    *,
    directory: Path | None = None,
    **fetching: Any,
) -> OpenRunner:
    """Fetch what a link names, and make it ready to answer while it comes.

    Args:
        settings: of this call.
        observe: told how both go.
        source: as for `fetch`.
        answering: how to load it.
        directory: as for `fetch`.
        **fetching: further arguments of `fetch`.

    Raises:
        WeightshareError: as of `fetch` and `open_runner`.
    """
    from weightshare.api.streamed import stream_runner

    def confirm(stranger: StrangerInfo) -> bool:
        with progress.paused(observe):
            return ask_about(stranger)

    def warn(warning: str) -> None:
        with progress.paused(observe):
            output.warn([warning])

    return stream_runner(
        source,
        answers=True,
        loading={**answering.loading(), "allow_pickle": fetching.get("allow_pickle", False)},
        directory=directory,
        home=home_of(settings),
        confirm=confirm if can_ask(settings) else None,
        observe=observe,
        on_warning=warn,
        **fetching,
    )
