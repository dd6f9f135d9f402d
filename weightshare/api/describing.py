"""A release's own small files for `inspect`: read here or brought over, proven, and put together.

Configurations and chat templates are what a careful user wants to see before gigabytes come: which architecture it is,
which code it names, what the template does. They are kilobytes, and each is held against its signed SHA-256.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from weightshare.content.self_description import SelfDescription, describe, telling
from weightshare.errors import CorruptError, NetworkError, WeightshareError
from weightshare.load.proven import read_proven
from weightshare.manifest.metainfo import Info
from weightshare.manifest.model import Manifest
from weightshare.manifest.text import escape
from weightshare.swarm.fetching import Transfer
from weightshare.units import format_size

PATIENCE = 30.0
"""Longest time without any progress, in seconds, until `inspect` does without them."""


def described_here(
    manifest: Manifest, folder: Path, locations: Mapping[str, Path]
) -> tuple[SelfDescription, list[str]]:
    """What the files of a release on this disk say, and warnings; a file that is not as signed is left out.

    Args:
        manifest: whose signature holds.
        folder: where its files lie.
        locations: where files really lie that the folder only links to.
    """
    wanted, notes = _wanted(manifest)
    entries = {entry.path: entry for entry in manifest.files}
    found = {}
    for path in wanted:
        try:
            found[path] = read_proven(entries[path], folder, locations)
        except WeightshareError as error:
            notes.append(error.message)
    return _described(found, notes)


def described_there(
    transfer: Transfer, info: Info, manifest: Manifest, scratch: Path
) -> tuple[SelfDescription | None, list[str]]:
    """What the same files say where the release is still in the swarm: they alone are brought over.

    Args:
        transfer: that has come as far as the manifest.
        info: the torrent, held against the manifest.
        manifest: whose signature holds.
        scratch: where the torrent was added to.

    Raises:
        CorruptError: the swarm's bytes are not those that were signed, though the torrent's hashes hold.
    """
    wanted, notes = _wanted(manifest)
    if not wanted:
        return _described({}, notes)
    machine = transfer.machine
    machine.timeout = min(machine.timeout or PATIENCE, PATIENCE)
    try:
        found = transfer.few(info, wanted, scratch)
    except NetworkError:
        return None, [
            "the peers gave the manifest but not the configuration files, which say what the model is"
        ]
    for entry in manifest.files:
        if entry.path in found and hashlib.sha256(found[entry.path]).digest() != entry.sha256:
            digest = hashlib.sha256(found[entry.path]).hexdigest()
            raise CorruptError(
                f"{entry.path}: SHA-256 is {digest}, signed is {entry.sha256.hex()}.",
                hint="The publisher signed a manifest that contradicts its own torrent. Tell them.",
                path=entry.path,
                pieces=[],
                expected=entry.sha256.hex(),
                found=digest,
            )
    return _described(found, notes)


def _wanted(manifest: Manifest) -> tuple[list[str], list[str]]:
    sizes = {entry.path: entry.size for entry in manifest.files}
    wanted, too_long = telling(sizes)
    return wanted, [f"{path} was not looked at: it has {format_size(sizes[path])}" for path in too_long]


def _described(found: Mapping[str, bytes], notes: list[str]) -> tuple[SelfDescription, list[str]]:
    says = describe(found)
    return says, [*notes, *says.problems, *_cautions(says)]


def _cautions(says: SelfDescription) -> list[str]:
    """What a reader must not miss."""
    notes = []
    if says.code:
        files = ", ".join(dict.fromkeys(code.path for code in says.code))
        first = says.code[0]
        notes.append(
            f"{files} names code of the release's own ({escape(first.what)}: {escape(first.where)}), which is "
            "never run: the model runs only if transformers has its architecture itself"
        )
    if says.kernel:
        notes.append(
            f"config.json asks for a kernel from the network, {escape(says.kernel)}: `run` refuses such a release"
        )
    return notes
