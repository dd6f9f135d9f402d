"""A release in memory: what a publisher signs, and the torrent around it, before anything is written."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from weightshare.api.asking import Intent
from weightshare.api.earlier import payload_of
from weightshare.content.checkpoint import Checkpoint
from weightshare.content.hashing import FileHashes
from weightshare.content.v1_twin import join_twin
from weightshare.content.walk import SourceFile
from weightshare.manifest.magnet import Magnet
from weightshare.manifest.merkle import leaves_of, root_of
from weightshare.manifest.metainfo import (
    HashedFile,
    Info,
    build_info,
    build_torrent,
    build_v1_torrent,
    parse_info,
)
from weightshare.manifest.model import (
    MANIFEST_NAME,
    Document,
    FileEntry,
    License,
    Manifest,
    ModelFacts,
    Publisher,
    Revocation,
    TorrentFacts,
)
from weightshare.trust.keys import Signer, fingerprint_bytes
from weightshare.trust.post_quantum import PostQuantumSigner
from weightshare.trust.signing import add_signature, sign, unsigned
from weightshare.trust.teams import Team
from weightshare.units import BLOCK

_LICENSE_FILES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "COPYING")
_CARD = "README.md"


@dataclass(frozen=True, slots=True)
class HashedCheckpoint:
    """A checkpoint and the digests of its files, both in the order of the torrent's file tree.

    Attributes:
        checkpoint: as it was read.
        files: all of its files.
        late: content of those that were made of the digests of the others, and are not on disk yet.
    """

    checkpoint: Checkpoint
    files: tuple[tuple[SourceFile, FileHashes], ...]
    late: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Draft:
    """A release that is made but not yet written.

    Attributes:
        manifest: what is signed.
        envelope: the signed manifest as it will be stored.
        info: the torrent's info dictionary.
        torrent: the `.torrent`.
        v1_twin: a plain v1 torrent of the same files, None if not asked for.
        magnet: the link.
    """

    manifest: Manifest
    envelope: bytes
    info: Info
    torrent: bytes
    v1_twin: bytes | None
    magnet: str


def draft(
    hashed: HashedCheckpoint, intent: Intent, signer: Signer, second: PostQuantumSigner | None = None
) -> Draft:
    """Make a release of a hashed checkpoint, signed by one publisher.

    Args:
        hashed: the files and their digests.
        intent: what the publisher asks for.
        signer: the publisher's key.
        second: their ML-DSA-44 key, if they have one.

    Raises:
        IntegrityError: the release would break the format.
        CheckpointError: a file changed after it was hashed.
    """
    keys = [signer.public_key.fingerprint, *([second.public_key.fingerprint] if second else [])]
    manifest = state(hashed, intent, Publisher(intent.name.partition("/")[0], tuple(keys)))
    envelope = sign(manifest, signer, second).to_bytes()
    return assemble(hashed, intent, manifest, envelope, signer.public_key.fingerprint)


def team_draft(hashed: HashedCheckpoint, intent: Intent, team: Team, signer: Signer) -> Draft:
    """Make a release for a team of which a single key is enough.

    Raises:
        KeyFileError: the signer is none of the team's keys.
        IntegrityError, CheckpointError: as for `draft`.
    """
    manifest = state(hashed, intent, team_publisher(team))
    envelope = unsigned(manifest, [root.raw for root in team.chain])
    signed = add_signature(envelope, manifest.publisher, signer).to_bytes()
    return assemble(hashed, intent, manifest, signed, team.fingerprint)


def team_publisher(team: Team) -> Publisher:
    """The team as a manifest names it: every key that may sign, and the root that says so."""
    keys = tuple(key.fingerprint for key in team.current.releases.keys)
    return Publisher(team.name, keys, team.version)


def assemble(
    hashed: HashedCheckpoint, intent: Intent, manifest: Manifest, envelope: bytes, publisher: str
) -> Draft:
    """Make the torrent and the link around a signed manifest.

    Args:
        hashed: the files and their digests.
        intent: what the publisher asks for.
        manifest: what was signed.
        envelope: the signed manifest as it will be stored.
        publisher: the publisher's identity (`SHA256:…`), for the link.

    Raises:
        IntegrityError: the release would break the format.
        CheckpointError: a file changed after it was hashed.
    """
    name, piece_length = manifest.torrent.name, intent.piece_length
    files = [
        *(_with_path(file.path, found) for file, found in hashed.files),
        hash_bytes(MANIFEST_NAME, envelope, piece_length),
    ]
    info = parse_info(build_info(name, piece_length, files, hybrid=intent.hybrid))
    magnet = Magnet(
        v2_hash=info.v2_hash,
        v1_hash=info.v1_hash,
        name=name,
        trackers=intent.trackers,
        web_seeds=intent.web_seeds,
        sources=intent.torrent_urls,
        publisher=fingerprint_bytes(publisher),
    )
    torrent = build_torrent(
        info.raw, files, trackers=intent.trackers, web_seeds=intent.web_seeds, comment=intent.summary
    )
    twin = _v1_twin(hashed, intent, name, envelope) if intent.v1_twin else None
    return Draft(manifest, envelope, info, torrent, twin, str(magnet))


def hash_bytes(path: str, data: bytes, piece_length: int) -> HashedFile:
    """The hashes of a file that is still in memory."""
    leaves = leaves_of(data)
    per_piece = piece_length // BLOCK
    pieces = [data[at : at + piece_length] for at in range(0, len(data), piece_length)]
    layer = b""
    if len(pieces) > 1:
        layer = b"".join(
            root_of(leaves[at : at + per_piece], width=per_piece) for at in range(0, len(leaves), per_piece)
        )
    return HashedFile(
        path,
        len(data),
        root_of(leaves),
        layer,
        b"".join(hashlib.sha1(piece.ljust(piece_length, b"\0")).digest() for piece in pieces),  # noqa: S324
        hashlib.sha1(pieces[-1]).digest(),  # noqa: S324 - BitTorrent v1
    )


def state(hashed: HashedCheckpoint, intent: Intent, publisher: Publisher) -> Manifest:
    """What the publisher is to sign for."""
    entries = {
        file.path: FileEntry(file.path, file.size, found.sha256, found.pieces_root, file.media_type)
        for file, found in hashed.files
    }
    now = int(os.environ.get("SOURCE_DATE_EPOCH") or time.time())
    text = next((path for path in _LICENSE_FILES if path in entries), None)
    return Manifest(
        files=tuple(sorted(entries.values(), key=lambda entry: entry.path.encode())),
        publisher=publisher,
        model=ModelFacts(
            id=intent.name,
            version=intent.version,
            sequence=now if intent.sequence is None else intent.sequence,
            released=datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            summary=intent.summary,
        ),
        torrent=TorrentFacts(intent.torrent_name, intent.piece_length, intent.hybrid),
        license=License(intent.license, text) if intent.license else None,
        source=intent.source,
        weights=hashed.checkpoint.weights,
        documents=(Document("model-card", _CARD, entries[_CARD].sha256),) if _CARD in entries else (),
        supersedes=tuple(map(payload_of, intent.supersedes)),
        revokes=tuple(Revocation(payload_of(earlier), reason) for earlier, reason in intent.revokes),
    )


def _v1_twin(hashed: HashedCheckpoint, intent: Intent, name: str, envelope: bytes) -> bytes:
    """A v1 torrent of the same files; last come those that were not there when the others were hashed."""
    early = [(file, found) for file, found in hashed.files if file.path not in hashed.late]
    late = {**hashed.late, MANIFEST_NAME: envelope}
    pieces = join_twin(
        [(file.location, file.size) for file, _ in early],
        intent.piece_length,
        [found.v1_twin for _, found in early],
        tail=b"".join(late.values()),
    )
    listed = [(file.path, file.size) for file, _ in early]
    listed += [(path, len(data)) for path, data in late.items()]
    return build_v1_torrent(
        name, intent.piece_length, listed, pieces, trackers=intent.trackers, web_seeds=intent.web_seeds
    )


def _with_path(path: str, found: FileHashes) -> HashedFile:
    return HashedFile(
        path, found.size, found.pieces_root, found.piece_layer, found.v1_pieces, found.v1_last_unpadded
    )
