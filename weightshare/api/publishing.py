"""`publish`: check a folder, hash it once, sign what it holds, and write what makes it a release.

The source folder may be read-only: then the signed manifest lives in the store and is served from there. Before
anything is written the new release passes the same gate that every fetch will put it through.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from weightshare.api.identity import find_key
from weightshare.api.results import Published
from weightshare.api.trusting import new_pin
from weightshare.content.checkpoint import Checkpoint, SourceFile, scan
from weightshare.content.hashing import FileHashes, hash_files
from weightshare.content.receipts import Receipt, save_receipts
from weightshare.content.store import Home, Record, Store
from weightshare.content.v1_twin import join_twin
from weightshare.errors import CheckpointError, DiskError, UsageError
from weightshare.files import write_atomically
from weightshare.manifest.magnet import Magnet
from weightshare.manifest.merkle import leaves_of, root_of
from weightshare.manifest.metainfo import (
    HashedFile,
    Info,
    build_info,
    build_torrent,
    build_v1_torrent,
    default_piece_length,
    parse_info,
    tree_order,
)
from weightshare.manifest.model import (
    MANIFEST_NAME,
    Document,
    FileEntry,
    License,
    Manifest,
    ModelFacts,
    Publisher,
    TorrentFacts,
)
from weightshare.progress import Observer, ignore
from weightshare.trust import gate, publishers
from weightshare.trust.keys import FileSigner, PublicKey
from weightshare.trust.publishers import KnownPublishers
from weightshare.trust.signing import sign
from weightshare.units import BLOCK, MAX_PART, format_size

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
_SPDX = re.compile(
    r"\(?[A-Za-z0-9][A-Za-z0-9.+:-]*\)?(?: (?:AND|OR|WITH) \(?[A-Za-z0-9][A-Za-z0-9.+:-]*\)?)*"
)
_LICENSE_FILES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "COPYING")
_CARD = "README.md"


@dataclass(frozen=True, slots=True)
class _Draft:
    """A release that is made but not yet written."""

    manifest: Manifest
    envelope: bytes
    info: Info
    torrent: bytes
    v1_twin: bytes | None
    magnet: str


def publish(
    directory: str | Path,
    name: str,
    *,
    version: str = "1",
    license: str | None = None,
    summary: str = "",
    key: str | Path | None = None,
    passphrase: Callable[[], str] | None = None,
    trackers: Sequence[str] = (),
    web_seeds: Sequence[str] = (),
    torrent_urls: Sequence[str] = (),
    piece_length: int | None = None,
    v2_only: bool = False,
    v1_twin: bool = False,
    allow_pickle: bool = False,
    sequence: int | None = None,
    out: Path | None = None,
    home: Home | None = None,
    observe: Observer = ignore,
) -> Published:
    """Publish a folder as a signed release.

    Args:
        directory: the checkpoint; never written to except for `weightshare.json`, and not even that if read-only.
        name: `ORG/MODEL`.
        version: the release's version.
        license: an SPDX expression.
        summary: one line for people.
        key: path of an OpenSSH Ed25519 key, or the name of one of `home`'s; None for the only one there.
        passphrase: asked when the key wants one.
        trackers: announce URLs.
        web_seeds: BEP 19 URLs.
        torrent_urls: where the `.torrent` will be found; they become the magnet's `xs=`.
        piece_length: bytes, a power of two from 16 KiB; None chooses by total size.
        v2_only: no v1 list beside the v2 tree.
        v1_twin: also write a plain v1 torrent of the same files.
        allow_pickle: publish files that run code when loaded.
        sequence: rises with every release of the model; None takes the time.
        out: where to write the torrent, the detached manifest and the magnet; None keeps them in the store.
        home: where keys and the store are.
        observe: told how the hashing goes.

    Raises:
        RefusedContentError: the folder holds what should not be published.
        IntegrityError: it is broken: a bad header, missing shards, files that change meanwhile.
        TrustError: no usable key, or the name is pinned with another one.
    """
    began = time.monotonic()
    _check_options(name, version, license, trackers, web_seeds, torrent_urls)
    home = home or Home.default()
    signer = FileSigner.load(find_key(key, home), passphrase)
    folder = Path(directory).absolute()
    checkpoint = scan(folder, allow_pickle=allow_pickle)
    total = sum(file.size for file in checkpoint.files)
    length = piece_length or default_piece_length(total)
    sources = sorted(checkpoint.files, key=lambda file: tree_order(file.path))
    hashes = hash_files(
        [(file.location, file.size) for file in sources],
        length,
        hybrid=not v2_only,
        observe=observe,
        v1_twin=v1_twin,
    )
    _unchanged(checkpoint)
    manifest = _manifest(
        checkpoint,
        sources,
        hashes,
        signer.public_key,
        name,
        version,
        license,
        summary,
        length,
        not v2_only,
        sequence,
    )
    draft = _draft(manifest, sources, hashes, signer, trackers, web_seeds, torrent_urls, with_twin=v1_twin)
    known = _gate(draft, signer.public_key, home, allow_pickle=allow_pickle)
    record, torrent, stored, twin = _write(
        draft, folder, sources, hashes, signer, home, out, trackers, web_seeds
    )
    publishers.update(home.known_publishers, lambda pins: _pin_own(pins, manifest, signer.public_key))
    pin = known.find(signer.public_key.fingerprint)
    return Published(
        release=record.release,
        publisher=signer.public_key.fingerprint,
        publisher_name=pin.name if pin else manifest.publisher.name,
        magnet=draft.magnet,
        torrent=torrent,
        manifest=stored,
        v1_twin=twin,
        info_hash_v2=record.info_hash_v2,
        info_hash_v1=record.info_hash_v1,
        path=folder,
        files=len(manifest.files),
        bytes=manifest.size,
        seconds=time.monotonic() - began,
        warnings=checkpoint.warnings,
    )


def _check_options(
    name: str,
    version: str,
    spdx: str | None,
    trackers: Sequence[str],
    web_seeds: Sequence[str],
    torrent_urls: Sequence[str],
) -> None:
    if not _NAME.fullmatch(name) or max(map(len, name.split("/"))) > MAX_PART:
        raise UsageError(
            f"{name!r} is not a model's name.",
            hint="Names look like ORG/MODEL, with letters, digits, `.`, `_` and `-`: acme/m7b-instruct.",
        )
    if not _VERSION.fullmatch(version):
        raise UsageError(f"{version!r} is not a version.", hint="Versions look like 1, 1.0 or 2026-11-22.")
    if spdx is not None and not _SPDX.fullmatch(spdx):
        raise UsageError(
            f"{spdx!r} is not an SPDX licence expression.",
            hint="For example Apache-2.0, MIT, or LicenseRef-acme for one of your own.",
        )
    for url in trackers:
        _check_url(url, ("udp://", "http://", "https://", "ws://", "wss://"), "tracker")
    for url in (*web_seeds, *torrent_urls):
        _check_url(url, ("http://", "https://"), "web address")


def _check_url(url: str, schemes: tuple[str, ...], what: str) -> None:
    if not url.startswith(schemes) or any(ord(char) <= 32 for char in url):
        raise UsageError(f"{url!r} is not a {what}.", hint=f"It must begin with one of {', '.join(schemes)}.")
    if "@" in url.split("/")[2]:
        raise UsageError(f"The {what} {url!r} holds a name or password, which everybody would see.")


def _unchanged(checkpoint: Checkpoint) -> None:
    """Nothing may have changed between the look at the folder and the end of hashing."""
    changed = [file.path for file in checkpoint.files if not file.unchanged()]
    if changed:
        raise CheckpointError(
            f"Changed while it was being hashed: {', '.join(changed[:10])}.",
            hint="Publish again once nothing writes to the folder.",
            paths=changed,
        )


def _manifest(
    checkpoint: Checkpoint,
    sources: Sequence[SourceFile],
    hashes: Sequence[FileHashes],
    signer: PublicKey,
    name: str,
    version: str,
    spdx: str | None,
    summary: str,
    piece_length: int,
    hybrid: bool,
    sequence: int | None,
) -> Manifest:
    entries = {
        file.path: FileEntry(file.path, file.size, found.sha256, found.pieces_root, file.media_type)
        for file, found in zip(sources, hashes, strict=True)
    }
    now = int(os.environ.get("SOURCE_DATE_EPOCH") or time.time())
    text = next((path for path in _LICENSE_FILES if path in entries), None)
    org, _, model = name.partition("/")
    return Manifest(
        files=tuple(sorted(entries.values(), key=lambda entry: entry.path.encode())),
        publisher=Publisher(org, (signer.fingerprint,)),
        model=ModelFacts(
            id=name,
            version=version,
            sequence=sequence if sequence is not None else now,
            released=datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            summary=summary,
        ),
        torrent=TorrentFacts(model, piece_length, hybrid),
        license=License(spdx, text) if spdx else None,
        weights=checkpoint.weights,
        documents=(Document("model-card", _CARD, entries[_CARD].sha256),) if _CARD in entries else (),
    )


def _draft(
    manifest: Manifest,
    sources: Sequence[SourceFile],
    hashes: Sequence[FileHashes],
    signer: FileSigner,
    trackers: Sequence[str],
    web_seeds: Sequence[str],
    torrent_urls: Sequence[str],
    *,
    with_twin: bool,
) -> _Draft:
    envelope = sign(manifest, signer).to_bytes()
    facts = manifest.torrent
    files = [
        *(_hashed(file.path, found) for file, found in zip(sources, hashes, strict=True)),
        hash_bytes(MANIFEST_NAME, envelope, facts.piece_length),
    ]
    info = parse_info(build_info(facts.name, facts.piece_length, files, hybrid=facts.hybrid))
    magnet = Magnet(
        v2_hash=info.v2_hash,
        v1_hash=info.v1_hash,
        name=facts.name,
        trackers=tuple(trackers),
        web_seeds=tuple(web_seeds),
        sources=tuple(torrent_urls),
        publisher=signer.public_key.fingerprint_bytes,
    )
    twin = None
    if with_twin:
        pieces = join_twin(
            [(file.location, file.size) for file in sources],
            facts.piece_length,
            [found.v1_twin for found in hashes],
            tail=envelope,
        )
        listed = [*((file.path, file.size) for file in sources), (MANIFEST_NAME, len(envelope))]
        twin = build_v1_torrent(
            facts.name, facts.piece_length, listed, pieces, trackers=trackers, web_seeds=web_seeds
        )
    torrent = build_torrent(
        info.raw, files, trackers=trackers, web_seeds=web_seeds, comment=manifest.model.summary
    )
    return _Draft(manifest, envelope, info, torrent, twin, str(magnet))


def _gate(draft: _Draft, signer: PublicKey, home: Home, *, allow_pickle: bool) -> KnownPublishers:
    """Put the draft through the gate that every fetch will put it through."""
    known = _pin_own(KnownPublishers.load(home.known_publishers), draft.manifest, signer)
    verified = gate.verify(draft.envelope, known, expect_publisher=signer.fingerprint_bytes)
    gate.match(gate.check_info(draft.info.raw, draft.info.v2_hash), verified)
    gate.judge(verified, known, gate.Policy(allow_pickle=allow_pickle))
    return known


def _pin_own(known: KnownPublishers, manifest: Manifest, signer: PublicKey) -> KnownPublishers:
    """The maintainer's own key is a known publisher, under the model's organisation."""
    if known.find(signer.fingerprint) is None and not known.named(manifest.publisher.name):
        known = known.add(new_pin(manifest.publisher.name, signer, "own key"))
    return known


def _write(
    draft: _Draft,
    root: Path,
    sources: Sequence[SourceFile],
    hashes: Sequence[FileHashes],
    signer: FileSigner,
    home: Home,
    out: Path | None,
    trackers: Sequence[str],
    web_seeds: Sequence[str],
) -> tuple[Record, Path, Path, Path | None]:
    """Write the release down; returns its record and where torrent, manifest and v1 twin lie."""
    store = Store(home)
    manifest, info = draft.manifest, draft.info
    record = Record(
        info_hash_v2=info.v2_hash.hex(),
        info_hash_v1=info.v1_hash.hex() if info.v1_hash else None,
        release=manifest.release,
        publisher=signer.public_key.fingerprint,
        kind="published",
        path=root,
        bytes=manifest.size,
        complete=True,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        trackers=tuple(trackers),
        web_seeds=tuple(web_seeds),
    )
    store.keep(record, envelope=draft.envelope, torrent=draft.torrent)
    folder = store.folder(record)
    torrent, stored, twin = folder / "release.torrent", folder / MANIFEST_NAME, None
    name = manifest.torrent.name
    try:
        if draft.v1_twin is not None:
            twin = folder / "twin.torrent"
            write_atomically(twin, draft.v1_twin)
        save_receipts(
            folder / "receipts.json",
            {
                file.path: Receipt.of(file.location, found.pieces_root)
                for file, found in zip(sources, hashes, strict=True)
            },
        )
        if is_writable(root):
            stored = root / MANIFEST_NAME
            write_atomically(stored, draft.envelope)
        write_atomically(folder / "magnet", f"{draft.magnet}\n".encode())
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            torrent, stored = out / f"{name}.torrent", out / f"{name}.{MANIFEST_NAME}"
            write_atomically(torrent, draft.torrent)
            write_atomically(stored, draft.envelope)
            write_atomically(out / f"{name}.magnet", f"{draft.magnet}\n".encode())
            if draft.v1_twin is not None:
                twin = out / f"{name}.v1.torrent"
                write_atomically(twin, draft.v1_twin)
    except OSError as error:
        raise DiskError(
            f"The release could not be written: {error.filename or out}: {error.strerror or error}.",
            hint=f"It needs {format_size(len(draft.torrent) + len(draft.envelope))} of space.",
            path=str(error.filename or out),
        ) from error
    return record, torrent, stored, twin


def is_writable(folder: Path) -> bool:
    """Whether we should write into a folder: it has a write bit (root ignores it, we don't) and lets us."""
    return bool(folder.stat().st_mode & 0o222) and os.access(folder, os.W_OK)


def _hashed(path: str, found: FileHashes) -> HashedFile:
    return HashedFile(
        path, found.size, found.pieces_root, found.piece_layer, found.v1_pieces, found.v1_last_unpadded
    )


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
