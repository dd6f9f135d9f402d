"""Publish and fetch model checkpoints over BitTorrent, with a signed manifest and a proof of every byte.

The public verbs live here and load what they need only when called: importing this package imports neither
libtorrent nor torch.

    >>> import weightshare
    >>> fetched = weightshare.fetch("magnet:?xt=urn:btmh:1220…")        # doctest: +SKIP
    >>> model, tokenizer = weightshare.from_pretrained(fetched.path)    # doctest: +SKIP

The parts, lowest first: `units`, `errors`, `progress` (words that all parts share) · `manifest` (the format, pure) ·
`trust` (keys, signatures, the gate) · `content` (hashing and the store) · `swarm` (libtorrent) · `load` (bytes to
device) · `run` (device to text) · `api` (joins them).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from weightshare.version import __version__

if TYPE_CHECKING:
    from weightshare.api.checking import verify
    from weightshare.api.fetching import fetch
    from weightshare.api.hub_publishing import publish_from_hub
    from weightshare.api.inspecting import inspect
    from weightshare.api.oms_checking import verify_oms
    from weightshare.api.opening import Release, open_release
    from weightshare.api.publishing import publish
    from weightshare.api.running import from_pretrained
    from weightshare.api.scanning import scan
    from weightshare.api.seeding import seed

    open = open_release

_VERBS = {
    "publish": ("weightshare.api.publishing", "publish"),
    "publish_from_hub": ("weightshare.api.hub_publishing", "publish_from_hub"),
    "scan": ("weightshare.api.scanning", "scan"),
    "seed": ("weightshare.api.seeding", "seed"),
    "fetch": ("weightshare.api.fetching", "fetch"),
    "verify": ("weightshare.api.checking", "verify"),
    "verify_oms": ("weightshare.api.oms_checking", "verify_oms"),
    "inspect": ("weightshare.api.inspecting", "inspect"),
    "open": ("weightshare.api.opening", "open_release"),
    "from_pretrained": ("weightshare.api.running", "from_pretrained"),
    "Release": ("weightshare.api.opening", "Release"),
}

__all__ = [
    "Release",
    "__version__",
    "fetch",
    "from_pretrained",
    "inspect",
    "open",
    "publish",
    "publish_from_hub",
    "scan",
    "seed",
    "verify",
    "verify_oms",
]


def __getattr__(name: str) -> object:
    """Import a public verb at its first use (PEP 562)."""
    if name not in _VERBS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module, attribute = _VERBS[name]
    return getattr(import_module(module), attribute)
