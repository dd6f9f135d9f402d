"""Pad files that other clients leave in a release's folder.

The v1 half of a hybrid torrent aligns its files with pads of zeros (BEP 47). A client that does not know them for what
they are, rtorrent for one, writes them out and needs them there to seed. Nobody signed them, but the torrent that was
signed for implies each: where it is, its size, and that it holds nothing but zeros.
"""

from __future__ import annotations

import stat
from pathlib import Path

from weightshare.manifest.metainfo import tree_order, v1_layout
from weightshare.manifest.model import MANIFEST_NAME
from weightshare.trust.gate import VerifiedManifest
from weightshare.units import MIB


def pads_of(manifest: VerifiedManifest) -> dict[str, int]:
    """The pads of a release by path, with their sizes in bytes; none where it is no hybrid."""
    facts = manifest.manifest.torrent
    if not facts.hybrid:
        return {}
    files = [(entry.path, entry.size) for entry in manifest.manifest.files]
    files.append((MANIFEST_NAME, len(manifest.envelope)))
    files.sort(key=lambda file: tree_order(file[0]))
    return {entry.path: entry.size for entry in v1_layout(files, facts.piece_length) if entry.pad}


def is_pad(path: Path, size: int) -> bool:
    """Whether a path is a regular file of so many zeros; what cannot be read is none."""
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_size != size:
            return False
        with path.open("rb") as file:
            return all(not any(block) for block in iter(lambda: file.read(MIB), b""))
    except OSError:
        return False
