"""`publish`: check a folder, hash it once, sign what it holds, and write what makes it a release.

What is asked for is checked in `asking`, put together in `drafting`, and written down in `releasing`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from weightshare.api import oms
from weightshare.api.asking import Asked, Intent, check_asked, intent_of
from weightshare.api.drafting import HashedCheckpoint, draft, team_draft
from weightshare.api.origin import Origin
from weightshare.api.releasing import is_writable, release
from weightshare.api.results import Published
from weightshare.api.signers import open_both
from weightshare.api.trusting import new_pin, team_of
from weightshare.content.checkpoint import Checkpoint, scan
from weightshare.content.embargoes import Embargo
from weightshare.content.hashing import hash_files
from weightshare.content.home import Home
from weightshare.errors import CheckpointError, UsageError
from weightshare.manifest.metainfo import tree_order
from weightshare.progress import Observer, ignore
from weightshare.trust.keys import PublicKey
from weightshare.trust.post_quantum import PostQuantumSigner
from weightshare.trust.publishers import Pin


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
    supersedes: Sequence[str] = (),
    revokes: Sequence[tuple[str, str]] = (),
    detached: bool = False,
    embargo: Embargo | None = None,
    out: Path | None = None,
    home: Home | None = None,
    observe: Observer = ignore,
    origin: Origin | None = None,
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
        supersedes: earlier releases that this one replaces, by `weightshare.json` or the payload's SHA-256 in hex.
        revokes: likewise, earlier releases that must not be used any more, each with the reason.
        detached: also make a detached SSH signature, for `ssh-keygen -Y verify`.
        embargo: who alone may have it until it is announced (`launching.embargo.new_embargo`); None for everybody.
        out: where to write the torrent, the detached manifest and the magnet; None keeps them in the store.
        home: where keys and the store are.
        observe: told how the hashing goes.
        origin: where on the Hub the files come from, and what to hold them against: then the folder is a snapshot
            in the Hub's cache and nothing is written into it; see `hub_publishing`.

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
        supersedes=supersedes,
        revokes=revokes,
    )
    check_asked(name, asked)
    home = home or Home.default()
    team = team_of(home, name)
    if team is not None and team.current.releases.threshold > 1:
        raise UsageError(
            f"{name.partition('/')[0]} is a team: {team.rule}.",
            hint="Make the manifest with `publish --prepare`, have it signed with `weightshare sign`, "
            "and publish it with `publish --finish`.",
        )
    signer, second = open_both(key, home, passphrase, waiting)
    checkpoint = scan(Path(directory).expanduser().absolute(), allow_pickle=allow_pickle)
    oms_signer = None
    if oms_key is not None:
        writable = is_writable(checkpoint.root)
        checkpoint, oms_signer = oms.prepare(checkpoint, oms_key, passphrase, writable=writable)
    source = origin.before(checkpoint.files) if origin is not None else None
    intent = intent_of(name, [file.size for file in checkpoint.files], asked, source)
    hashed = hash_checkpoint(checkpoint, intent, observe)
    if origin is not None:
        origin.after(hashed.files)
    if oms_signer is not None:
        hashed = oms.add_signature(hashed, intent, oms_signer)
    if team is not None:
        made, own = team_draft(hashed, intent, team, signer), None
    else:
        made, own = draft(hashed, intent, signer, second), own_pin(name, signer.public_key, second)
    published = release(
        made,
        hashed,
        intent,
        home,
        own=own,
        out=out,
        began=began,
        allow_pickle=allow_pickle,
        detached=signer if detached else None,
        embargo=embargo,
    )
    if origin is None:
        return published
    return replace(published, hub=origin.standing, warnings=(*origin.notes, *published.warnings))


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
