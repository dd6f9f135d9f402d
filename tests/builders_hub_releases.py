"""Releases whose manifest names a commit of the Hub, and what a test looks at in a Hub cache."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.builders_checkpoints import digest
from tests.cli.helpers import result
from tests.integration.releases import Published
from weightshare.api.asking import Asked, intent_of
from weightshare.api.drafting import assemble, state
from weightshare.api.publishing import hash_checkpoint, own_pin
from weightshare.api.releasing import release
from weightshare.api.signers import open_both
from weightshare.content.checkpoint import scan
from weightshare.content.home import Home
from weightshare.manifest.model import Publisher, Source
from weightshare.progress import ignore
from weightshare.trust.signing import sign

REPO = "acme/m7b"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
ATTRIBUTES = b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"


def publish_from_hub(
    home: Path, folder: Path, *, repo: str = REPO, commit: str = COMMIT, name: str = REPO, version: str = "1"
) -> Published:
    """Publish a folder from a home, which gets a key if it has none, as a commit of a Hub repository."""
    home.mkdir(exist_ok=True)
    if not (home / "weightshare" / "keys").exists():
        result(home, "keys", "new", "acme")
    store = Home(home / "weightshare")
    checkpoint = scan(folder)
    intent = intent_of(name, [file.size for file in checkpoint.files], Asked(version=version))
    hashed = hash_checkpoint(checkpoint, intent, ignore)
    signer, _ = open_both(None, store, None, None)
    fingerprint = signer.public_key.fingerprint
    made = state(hashed, intent, Publisher(name.partition("/")[0], (fingerprint,)))
    manifest = replace(made, source=Source(repo, commit), torrent=replace(made.torrent, name=commit))
    drafted = assemble(hashed, intent, manifest, sign(manifest, signer).to_bytes(), fingerprint)
    published = release(
        drafted,
        hashed,
        intent,
        store,
        own=own_pin(name, signer.public_key, None),
        out=None,
        began=time.monotonic(),
        allow_pickle=False,
    )
    return Published(home, folder, published.to_json())


def on_disk(*folders: Path) -> int:
    """Bytes that these folders take together, each file counted once whatever its names."""
    seen: dict[tuple[int, int], int] = {}
    for folder in folders:
        for place in folder.rglob("*"):
            found = place.lstat()
            if place.is_file() and not place.is_symlink():
                seen[found.st_dev, found.st_ino] = found.st_blocks * 512
    return sum(seen.values())


def picture(folder: Path) -> dict[str, Any]:
    """Everything in a folder: what it is, its size, bytes or target, and when it was written to."""
    found: dict[str, Any] = {}
    for place in sorted(folder.rglob("*")):
        status = place.lstat()
        path = place.relative_to(folder).as_posix()
        if place.is_symlink():
            found[path] = "link", os.readlink(place)
        elif place.is_dir():
            found[path] = "folder", status.st_mtime_ns
        else:
            found[path] = "file", place.read_bytes(), status.st_mtime_ns, status.st_ino
    return found


def stamps(folder: Path) -> dict[str, tuple[str, int, int, int]]:
    """What a big folder holds: of each file its digest, of each link its target; with inode, mode and mtime."""
    found = {}
    for place in sorted(folder.rglob("*")):
        status = place.lstat()
        what = os.readlink(place) if place.is_symlink() else digest(place) if place.is_file() else ""
        path = place.relative_to(folder).as_posix()
        found[path] = what, status.st_ino, status.st_mode, status.st_mtime_ns
    return found
