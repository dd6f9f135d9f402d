"""`publish`: check a folder, hash it once, sign what it holds, and write what makes it a release.

The source folder may be read-only: then the signed manifest lives in the store and is served from there. Before
anything is written the new release passes the same gate that every fetch will put it through.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from weightshare.api import oms
from weightshare.api.drafting import Asked, Draft, HashedCheckpoint, Intent, draft, intent_of, team_draft
from weightshare.api.results import Published
from weightshare.api.signers import open_both
from weightshare.api.trusting import new_pin
from weightshare.content.checkpoint import Checkpoint, scan
from weightshare.content.hashing import hash_files
from weightshare.content.receipts import Receipt, save_receipts
from weightshare.content.store import Home, Record, Store
from weightshare.errors import CheckpointError, DiskError, UsageError
from weightshare.files import write_atomically
from weightshare.manifest.magnet import parse as parse_magnet
from weightshare.manifest.metainfo import tree_order
from weightshare.manifest.model import MANIFEST_NAME
from weightshare.progress import Observer, ignore
from weightshare.trust import gate, publishers, sshsig
from weightshare.trust.gate import VerifiedManifest
from weightshare.trust.keys import PublicKey, Signer
from weightshare.trust.post_quantum import PostQuantumSigner
from weightshare.trust.publishers import KnownPublishers, Pin
from weightshare.trust.standing import describe
from weightshare.trust.teams import Team
from weightshare.units import MAX_PART, format_size

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
_SPDX = re.compile(
    r"\(?[A-Za-z0-9][A-Za-z0-9.+:-]*\)?(?: (?:AND|OR|WITH) \(?[A-Za-z0-9][A-Za-z0-9.+:-]*\)?)*"
)


def publish(
    directory: str | Path,
    name: str,
    *,
    version: str = "1",
    license: str | None = None,
    summary: str = "",
    key: str | Path | None = None,
    oms_key: str | Path | None = None,
    passphrase: Callable[[], str] | None = None,
    waiting: Callable[[str], None] | None = None,
    trackers: Sequence[str] = (),
    web_seeds: Sequence[str] = (),
    torrent_urls: Sequence[str] = (),
    piece_length: int | None = None,
    v2_only: bool = False,
    v1_twin: bool = False,
    allow_pickle: bool = False,
    sequence: int | None = None,
    detached: bool = False,
    out: Path | None = None,
    home: Home | None = None,
    observe: Observer = ignore,
) -> Published:
    """Publish a folder as a signed release.

    Args:
        directory: the checkpoint; never written to except for `weightshare.json`, and not even that if read-only, and
            for `model.sig` if asked for.
        name: `ORG/MODEL`.
        version: the release's version.
        license: an SPDX expression.
        summary: one line for people.
        key: an Ed25519 key: a private or public key file, the name of one of `home`'s, `SHA256:…` or `agent` for
            one that the ssh-agent holds; None for the only one in `home`.
        oms_key: path of a PEM key (P-256, P-384, P-521) that also signs `model.sig`, for OpenSSF Model Signing;
            it is written into the folder.
        passphrase: asked when a key wants one.
        waiting: told what is waited for when an ssh-agent takes its time.
        trackers: announce URLs.
        web_seeds: BEP 19 URLs.
        torrent_urls: where the `.torrent` will be found; they become the magnet's `xs=`.
        piece_length: bytes, a power of two from 16 KiB; None chooses by total size.
        v2_only: no v1 list beside the v2 tree.
        v1_twin: also write a plain v1 torrent of the same files.
        allow_pickle: publish files that run code when loaded.
        sequence: rises with every release of the model; None takes the time.
        detached: also make a detached SSH signature, for `ssh-keygen -Y verify`.
        out: where to write the torrent, the detached manifest and the magnet; None keeps them in the store.
        home: where keys and the store are.
        observe: told how the hashing goes.

    Raises:
        RefusedContentError: the folder holds what should not be published.
        IntegrityError: it is broken: a bad header, missing shards, files that change meanwhile.
        TrustError: no usable key, or the name is pinned with another one.
    """
    began = time.monotonic()
    asked = Asked(
        version=version,
        license=license,
        summary=summary,
        sequence=sequence,
        piece_length=piece_length,
        v2_only=v2_only,
        v1_twin=v1_twin,
        trackers=trackers,
        web_seeds=web_seeds,
        torrent_urls=torrent_urls,
    )
    check_asked(name, asked)
    home = home or Home.default()
    signer, second = open_both(key, home, passphrase, waiting)
    team = team_of(home, name)
    if team is not None and team.current.releases.threshold > 1:
        raise UsageError(
            f"{name.partition('/')[0]} is a team: {describe(team)}.",
            hint="Make the manifest with `publish --prepare`, have it signed with `weightshare sign`, "
            "and publish it with `publish --finish`.",
        )
    checkpoint = scan(Path(directory).expanduser().absolute(), allow_pickle=allow_pickle)
    oms_signer = None
    if oms_key is not None:
        writable = is_writable(checkpoint.root)
        checkpoint, oms_signer = oms.prepare(checkpoint, oms_key, passphrase, writable=writable)
    intent = intent_of(name, sum(file.size for file in checkpoint.files), asked)
    hashed = hash_checkpoint(checkpoint, intent, observe)
    if oms_signer is not None:
        hashed = oms.add_signature(hashed, intent, oms_signer)
    if team is not None:
        made, own = team_draft(hashed, intent, team, signer), None
    else:
        made, own = draft(hashed, intent, signer, second), own_pin(name, signer.public_key, second)
    return release(
        made,
        hashed,
        intent,
        home,
        own=own,
        out=out,
        began=began,
        allow_pickle=allow_pickle,
        detached=signer if detached else None,
    )


def team_of(home: Home, name: str) -> Team | None:
    """The team that publishes models of this name, if the user knows one."""
    known = KnownPublishers.load(home.known_publishers)
    return next((pin.team for pin in known.named(name.partition("/")[0]) if pin.team is not None), None)


def release(
    made: Draft,
    hashed: HashedCheckpoint,
    intent: Intent,
    home: Home,
    *,
    own: Pin | None,
    out: Path | None,
    began: float,
    allow_pickle: bool,
    detached: Signer | None = None,
) -> Published:
    """Put a signed draft through the gate and write it down.

    Args:
        made: the draft.
        hashed: its files and their digests.
        intent: what the publisher asked for.
        home: where the store and the known publishers are.
        own: the maintainer's own key, to be known from now on; None for a team, which is known already.
        out: where to write the torrent, the detached manifest and the magnet; None keeps them in the store.
        began: when the work began, by the monotonic clock.
        allow_pickle: publish files that run code when loaded.
        detached: who also makes a detached SSH signature over the manifest; None makes none.

    Raises:
        TrustError, IntegrityError, RefusedContentError: what every fetch would refuse.
        DiskError: it cannot be written.
    """
    checkpoint = hashed.checkpoint
    verified, warnings = _gate(made, own, home, allow_pickle=allow_pickle)
    record = _record(made, checkpoint.root, intent, verified.fingerprint)
    signature = sshsig.make(made.envelope, detached) if detached is not None else None
    written = _write(Store(home), record, made, hashed, signature, out)
    publishers.update(home.known_publishers, lambda known: _remember(known, own, verified))
    return Published(
        release=record.release,
        publisher=record.publisher,
        publisher_name=verified.publisher_name,
        magnet=made.magnet,
        torrent=written.torrent,
        manifest=written.manifest,
        v1_twin=written.v1_twin,
        sshsig=written.sshsig,
        oms=record.path / oms.SIGNATURE_NAME if oms.SIGNATURE_NAME in hashed.late else None,
        info_hash_v2=record.info_hash_v2,
        info_hash_v1=record.info_hash_v1,
        path=record.path,
        files=len(made.manifest.files),
        bytes=made.manifest.size,
        seconds=time.monotonic() - began,
        warnings=(*checkpoint.warnings, *warnings),
    )


def check_asked(name: str, asked: Asked) -> None:
    """Refuse what nobody could use, before anything is read.

    Raises:
        UsageError: a name, version, licence or address that is none.
    """
    version, spdx = asked.get("version", "1"), asked.get("license")
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
    for url in asked.get("trackers", ()):
        _check_url(url, ("udp://", "http://", "https://", "ws://", "wss://"), "tracker")
    for url in (*asked.get("web_seeds", ()), *asked.get("torrent_urls", ())):
        _check_url(url, ("http://", "https://"), "web address")


def _check_url(url: str, schemes: tuple[str, ...], what: str) -> None:
    if not url.startswith(schemes) or any(ord(char) <= 32 for char in url):
        raise UsageError(f"{url!r} is not a {what}.", hint=f"It must begin with one of {', '.join(schemes)}.")
    if "@" in url.split("/")[2]:
        raise UsageError(f"The {what} {url!r} holds a name or password, which everybody would see.")


def hash_checkpoint(checkpoint: Checkpoint, intent: Intent, observe: Observer) -> HashedCheckpoint:
    """Hash every file, in one pass and in the order of the file tree; none may change meanwhile."""
    sources = sorted(checkpoint.files, key=lambda file: tree_order(file.path))
    hashes = hash_files(
        [(file.location, file.size) for file in sources],
        intent.piece_length,
        hybrid=intent.hybrid,
        observe=observe,
        v1_twin=intent.v1_twin,
    )
    changed = [file.path for file in sources if not file.unchanged()]
    if changed:
        raise CheckpointError(
            f"Changed while it was being hashed: {', '.join(changed[:10])}.",
            hint="Publish again once nothing writes to the folder.",
            paths=changed,
        )
    return HashedCheckpoint(checkpoint, tuple(zip(sources, hashes, strict=True)))


def own_pin(name: str, signer: PublicKey, second: PostQuantumSigner | None) -> Pin:
    """The maintainer's own key as a publisher, under the model's organisation."""
    pin = new_pin(name.partition("/")[0], signer, "own key")
    return replace(pin, post_quantum=second.public_key.fingerprint if second else "")


def _gate(
    made: Draft, own: Pin | None, home: Home, *, allow_pickle: bool
) -> tuple[VerifiedManifest, tuple[str, ...]]:
    """Put the draft through the gate that every fetch will put it through; returns its warnings too."""
    known = _with_own(KnownPublishers.load(home.known_publishers), own)
    verified = gate.verify(made.envelope, known, expect_publisher=parse_magnet(made.magnet).publisher)
    gate.match(gate.check_info(made.info.raw, made.info.v2_hash), verified)
    return verified, gate.judge(verified, known, gate.Policy(allow_pickle=allow_pickle))


def _with_own(known: KnownPublishers, own: Pin | None) -> KnownPublishers:
    if own is None or known.find(own.fingerprint) is not None or known.named(own.name):
        return known
    return known.add(own)


def _remember(known: KnownPublishers, own: Pin | None, verified: VerifiedManifest) -> KnownPublishers:
    """The own key pinned, and the release's sequence noted as seen."""
    known = _with_own(known, own)
    pin, model = known.find(verified.fingerprint), verified.manifest.model
    return known.with_highest(pin.name, model.id, model.sequence) if pin else known


def _record(made: Draft, root: Path, intent: Intent, publisher: str) -> Record:
    info = made.info
    return Record(
        info_hash_v2=info.v2_hash.hex(),
        info_hash_v1=info.v1_hash.hex() if info.v1_hash else None,
        release=made.manifest.release,
        publisher=publisher,
        kind="published",
        path=root,
        bytes=made.manifest.size,
        complete=True,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        trackers=intent.trackers,
        web_seeds=intent.web_seeds,
    )


@dataclass(frozen=True, slots=True)
class _Written:
    """Where the release's files lie."""

    torrent: Path
    manifest: Path
    v1_twin: Path | None
    sshsig: Path | None


def _write(
    store: Store,
    record: Record,
    made: Draft,
    hashed: HashedCheckpoint,
    signature: bytes | None,
    out: Path | None,
) -> _Written:
    """Write the release down: in the store, in its folder if that may be written to, and in `out`.

    The detached signature never goes into the release's folder, where it would be a file that nobody signed.
    """
    store.keep(record, envelope=made.envelope, torrent=made.torrent)
    for older in store.at(record.path):
        # Published again from the same folder: the name means the newer one.
        if older.release == record.release and older.kind == "published" and older.id != record.id:
            store.forget(older)
    folder, name = store.folder(record), made.manifest.torrent.name
    torrent, manifest = folder / "release.torrent", folder / MANIFEST_NAME
    twin = folder / "twin.torrent" if made.v1_twin is not None else None
    detached = folder / f"{MANIFEST_NAME}.sig" if signature is not None else None
    magnet = f"{made.magnet}\n".encode()
    try:
        hashed = oms.write_late(hashed)
        save_receipts(
            folder / "receipts.json",
            {file.path: Receipt.of(file.location, found.pieces_root) for file, found in hashed.files},
        )
        write_atomically(folder / "magnet", magnet)
        if twin is not None and made.v1_twin is not None:
            write_atomically(twin, made.v1_twin)
        if detached is not None and signature is not None:
            write_atomically(detached, signature)
        if is_writable(record.path):
            manifest = record.path / MANIFEST_NAME
            write_atomically(manifest, made.envelope)
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            torrent, manifest = out / f"{name}.torrent", out / f"{name}.{MANIFEST_NAME}"
            write_atomically(torrent, made.torrent)
            write_atomically(manifest, made.envelope)
            write_atomically(out / f"{name}.magnet", magnet)
            if made.v1_twin is not None:
                twin = out / f"{name}.v1.torrent"
                write_atomically(twin, made.v1_twin)
            if signature is not None:
                detached = out / f"{name}.{MANIFEST_NAME}.sig"
                write_atomically(detached, signature)
    except OSError as error:
        raise DiskError(
            f"The release could not be written: {error.filename or out}: {error.strerror or error}.",
            hint=f"It needs {format_size(len(made.torrent) + len(made.envelope))} of space.",
            path=str(error.filename or out),
        ) from error
    return _Written(torrent, manifest, twin, detached)


def is_writable(folder: Path) -> bool:
    """Whether we should write into a folder: it has a write bit (root ignores it, we don't) and lets us."""
    return bool(folder.stat().st_mode & 0o222) and os.access(folder, os.W_OK)
