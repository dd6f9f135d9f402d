"""What the entry point of the group `vllm.general_plugins` calls: releases, found and trusted, for vLLM's loader."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from weightshare.api.offering import locate
from weightshare.api.trusting import Trustee
from weightshare.content.home import Home
from weightshare.content.store import Store
from weightshare.errors import CheckpointError

if TYPE_CHECKING:
    from weightshare.load.loader import LoadedState
    from weightshare.run.vllm_plugin import Wanted


def register() -> None:
    """Make the load format `weightshare` known to vLLM; called by vLLM in each of its processes."""
    from weightshare.run import vllm_plugin

    vllm_plugin.register(open_state)


def open_state(wanted: Wanted) -> LoadedState:
    """The proven weights of the release that an engine was told to load.

    Raises:
        ReleaseNotFoundError: it is not here.
        TrustError: its publisher is not known, or it is not signed.
        CorruptError: bytes are not what was signed, in the weights or in a config or tokenizer file.
        CheckpointError: the release is not the one whose config vLLM was given.
    """
    from weightshare.load.loader import state_dict
    from weightshare.load.proven import read_proven
    from weightshare.run.small_files import is_wanted

    home = Home.default(Path(wanted.home) if wanted.home else None)
    located = locate(Store(home), Trustee(home, wanted.trust), wanted.release)
    verified = located.verified
    found = hashlib.sha256(verified.envelope).hexdigest()
    if wanted.manifest and found != wanted.manifest:
        raise CheckpointError(
            f"{verified.release}: its signed manifest has SHA-256 {found}, expected is {wanted.manifest}.",
            hint="The release was replaced while the engine started. Start it again.",
            path=str(located.folder),
        )
    if wanted.small_files:
        # vLLM has read them already: this notices what was changed, not what was changed and put back.
        for entry in verified.manifest.files:
            if is_wanted(entry.path):
                read_proven(entry, Path(wanted.small_files), located.locations)
    return state_dict(
        verified,
        located.folder,
        device="cpu",
        mode="private" if wanted.private else "auto",
        layers=located.layers,
        locations=located.locations,
    )
