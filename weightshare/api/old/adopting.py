"""`publish --adopt`: a signed manifest for a torrent that others made. Its info-hash and its swarm stay what they are.

The folder is hashed once: by SHA-256 for the manifest, and by SHA-1 against the torrent's own pieces, so that what is
signed is what that swarm has.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Unpack

from weightshare.api.asking import Asked, Intent, check_asked, intent_of
from weightshare.api.drafting import HashedCheckpoint, state, team_publisher
from weightshare.api.old.offers import ADOPTED_TORRENT, keep_layers
from weightshare.api.old.swarming import Reach, old_swarm
from weightshare.api.old.targets import OldTarget, resolve_old
from weightshare.api.old.unsigned import usable_piece_length
from weightshare.api.publishing import own_pin
from weightshare.api.records import new_record
from weightshare.api.releasing import remember_own, with_own
from weightshare.api.results.old import VOUCHED, Adopted
from weightshare.api.signers import open_both
from weightshare.api.trusting import team_of
from weightshare.content.checkpoint import Checkpoint, scan
from weightshare.content.hashing import hash_files
from weightshare.content.home import Home
from weightshare.content.receipts import Receipt, save_receipts
from weightshare.content.store import Record, Store
from weightshare.content.v1_pieces import aligned_for_twin, bad_pieces, read_pieces
from weightshare.content.v1_twin import join_twin
from weightshare.content.walk import SourceFile, source_file
from weightshare.errors import CheckpointError, CorruptError, DiskError, UsageError
from weightshare.files import write_atomically
from weightshare.manifest.magnet import Magnet
from weightshare.manifest.model import ADOPTION, MANIFEST_NAME, Manifest, Publisher, TorrentFacts
from weightshare.manifest.paths import fold
from weightshare.manifest.plain import Plain, build_plain_torrent
from weightshare.manifest.v1_info import V1Info
from weightshare.progress import Observer, ignore
from weightshare.swarm.networks import Network
from weightshare.trust import gate, publishers
from weightshare.trust.adoption import match_adopted
from weightshare.trust.gate import VerifiedManifest
from weightshare.trust.keys import Signer, fingerprint_bytes
from weightshare.trust.post_quantum import PostQuantumSigner
from weightshare.trust.publishers import KnownPublishers
from weightshare.trust.signing import add_signature, sign, unsigned
from weightshare.trust.teams import Team

_NAMED = 10
_NOT_OURS = ("piece_length", "v2_only", "v1_twin")


def adopt(
    directory: str | Path,
    source: str,
    name: str,
    *,
    key: str | Path | None = None,
    passphrase: Callable[[], str] | None = None,
    waiting: Callable[[str], None] | None = None,
    allow_pickle: bool = False,
    out: Path | None = None,
    home: Home | None = None,
    reach: Reach | None = None,
    observe: Observer = ignore,
    **asked: Unpack[Asked],
) -> Adopted:
    """Sign a manifest for a v1 torrent, over a folder that holds its files.

    Args:
        directory: the torrent's folder, or for a single-file torrent the one that holds the file; never written to.
        source: the torrent: a `.torrent` by path or URL, or a magnet link, whose metadata then comes from the swarm.
        name: `ORG/MODEL`.
        key: as for `publish`.
        passphrase: asked when a key wants one.
        waiting: told what is waited for when an ssh-agent takes its time.
        allow_pickle: sign for files that run code when loaded.
        out: where to write manifest, torrent and link too; None keeps them in the store.
        home: where keys and the store are.
        reach: how the swarm may be reached, for a magnet link.
        observe: told how the hashing goes.
        **asked: the facts of the release, as for `publish`; the shape of the torrent is not ours to choose.

    Raises:
        CorruptError: the folder does not hold this torrent's bytes.
        MetainfoError, UnsafePathError: the torrent breaks a rule, or is not a plain v1 one.
        RefusedContentError, IntegrityError, TrustError: as `publish` does.
        NetworkError: the metadata did not come in time.
    """
    began = time.monotonic()
    home, reach = home or Home.default(), reach or Reach()
    if any(asked.get(word) for word in _NOT_OURS):
        raise UsageError(
            "An adopted torrent stays as others made it.",
            hint="Leave out --piece-length, --v2-only and --v1-twin.",
        )
    check_asked(name, asked)
    team = _team(home, name)
    signer, second = open_both(key, home, passphrase, waiting)
    target = resolve_old(source, Network(reach.network))
    plain, info = _torrent(home, target, reach, observe)
    root = Path(directory).expanduser().absolute()
    checkpoint, warnings = _chosen(scan(root, allow_pickle=allow_pickle), info)
    intent = _intent(name, plain, target, asked)
    hashed = _hash(checkpoint, info, intent.piece_length, observe)
    manifest, envelope = _sign(hashed, intent, info, signer, second, team)
    identity = team.fingerprint if team is not None else signer.public_key.fingerprint
    own = None if team is not None else own_pin(name, signer.public_key, second)
    known = with_own(KnownPublishers.load(home.known_publishers), own)
    verified = gate.verify(envelope, known, expect_publisher=fingerprint_bytes(identity))
    match_adopted(info, verified)
    judged = gate.judge(verified, known, gate.Policy(allow_pickle=allow_pickle))
    record = new_record(
        manifest,
        verified.fingerprint,
        root,
        None,
        "published",
        trackers=intent.trackers,
        web_seeds=intent.web_seeds,
    )
    magnet = str(
        Magnet(
            v1_hash=info.v1_hash,
            name=info.name,
            trackers=intent.trackers,
            web_seeds=intent.web_seeds,
            sources=intent.torrent_urls,
            publisher=fingerprint_bytes(identity),
        )
    )
    torrent_file, manifest_file = _write(Store(home), record, verified, hashed, plain, magnet, out)
    publishers.update(home.known_publishers, lambda kept: remember_own(kept, own, verified))
    return Adopted(
        release=manifest.release,
        publisher=verified.fingerprint,
        publisher_name=verified.publisher_name,
        magnet=magnet,
        manifest=manifest_file,
        torrent=torrent_file,
        info_hash_v1=info.v1_hash.hex(),
        path=root,
        files=len(manifest.files),
        bytes=manifest.size,
        seconds=time.monotonic() - began,
        warnings=(VOUCHED, *target.notes, *checkpoint.warnings, *warnings, *judged),
    )


def _team(home: Home, name: str) -> Team | None:
    team = team_of(home, name)
    if team is not None and team.current.releases.threshold > 1:
        raise UsageError(
            f"{name.partition('/')[0]} is a team: {team.rule}. An adoption is signed by one key at once.",
            hint="Adopt it under another name with a single key.",
        )
    return team


def _torrent(home: Home, target: OldTarget, reach: Reach, observe: Observer) -> tuple[Plain, V1Info]:
    """The torrent that is adopted: from its file, or from the swarm."""
    if target.torrent is not None:
        plain = target.torrent.plain
    else:
        with old_swarm(home, target, reach, observe) as swarm, home.scratch() as scratch:
            plain = swarm.metadata(scratch)
    if plain.v1 is None:
        raise UsageError(
            f"The torrent {plain.name!r} has a v2 half, and only plain v1 torrents are adopted.",
            hint="Publish the folder as a release of your own: weightshare publish DIR --name ORG/MODEL",
        )
    if any(fold(file.path.partition("/")[0]) == MANIFEST_NAME for file in plain.files):
        raise UsageError(
            f"The torrent {plain.name!r} carries a {MANIFEST_NAME} of its own.",
            hint="It was published with weightshare; fetch it by the magnet of that release.",
        )
    return plain, plain.v1


def _chosen(found: Checkpoint, info: V1Info) -> tuple[Checkpoint, tuple[str, ...]]:
    """The torrent's files in the folder, in the torrent's order; what else lies there is not signed for.

    Raises:
        CorruptError: one is missing, or has another size.
    """
    here = {file.path: file for file in found.files}
    files: list[SourceFile] = []
    wrong: list[tuple[str, str]] = []
    for listed in info.files:
        file = here.get(listed.path) or _overlooked(found.root, listed.path)
        if file is None:
            wrong.append((listed.path, "missing"))
        elif file.size != listed.size:
            wrong.append((listed.path, f"{file.size:,} bytes, {listed.size:,} in the torrent"))
        else:
            files.append(file)
    if wrong:
        inner = found.root / info.name
        raise CorruptError(
            f"{found.root} does not hold the files of {info.name}: "
            + ", ".join(f"{path} ({why})" for path, why in wrong[:_NAMED])
            + ".",
            hint=f"Name {inner} instead?" if inner.is_dir() else "Nothing was signed.",
            path=wrong[0][0],
            pieces=[],
            paths=[path for path, _ in wrong],
        )
    extra = sorted(here.keys() - {file.path for file in files})
    shards = any(path.lower().endswith(".safetensors") for path in extra)
    warnings = (f"not in the torrent, so not signed for: {', '.join(extra[:_NAMED])}",) if extra else ()
    return replace(found, files=tuple(files), weights=None if shards else found.weights), warnings


def _overlooked(root: Path, path: str) -> SourceFile | None:
    """A file that publishing would leave out, such as `.DS_Store`; a torrent has what it has."""
    place = root / path
    if place.is_symlink() or not place.is_file():
        return None
    return source_file(path, place)


def _intent(name: str, plain: Plain, target: OldTarget, asked: Asked) -> Intent:
    shape = intent_of(name, [file.size for file in plain.files], asked)
    return replace(
        shape,
        piece_length=usable_piece_length(plain),
        hybrid=False,
        trackers=tuple(dict.fromkeys((*shape.trackers, *target.magnet.trackers))),
        web_seeds=tuple(dict.fromkeys((*shape.web_seeds, *target.magnet.web_seeds))),
    )


def _hash(checkpoint: Checkpoint, info: V1Info, piece_length: int, observe: Observer) -> HashedCheckpoint:
    """The digests of the files, once it is sure that they are the torrent's very bytes.

    Raises:
        CorruptError: a piece is not the torrent's.
        CheckpointError: a file changed meanwhile.
    """
    files = checkpoint.files
    places = [(file.location, file.size) for file in files]
    twin = aligned_for_twin(info, piece_length)
    found = hash_files(places, piece_length, hybrid=False, observe=observe, v1_twin=twin)
    try:
        if twin:
            pieces = join_twin(places, piece_length, [one.v1_twin for one in found])
        else:
            pieces = read_pieces(info, {file.path: file.location for file in files}, observe)
    except OSError as error:
        raise DiskError(f"{error.filename}: {error.strerror or error}.", path=str(error.filename)) from error
    changed = [file.path for file in files if not file.unchanged()]
    if changed:
        raise CheckpointError(
            f"Changed while it was being hashed: {', '.join(changed[:_NAMED])}.",
            hint="Adopt it again once nothing writes to the folder.",
            paths=changed,
        )
    bad = bad_pieces(info, pieces)
    if bad:
        paths = list(dict.fromkeys(path for _, named in bad for path in named))
        first, where = bad[0]
        more = f", and {len(bad) - 1} more pieces" if len(bad) > 1 else ""
        raise CorruptError(
            f"{checkpoint.root} does not hold the bytes of {info.name}: piece {first} of the torrent, in "
            f"{' and '.join(where[:_NAMED])}{more}. Nothing was signed.",
            hint="Let a BitTorrent client check the folder against the torrent, then adopt it again.",
            path=paths[0],
            pieces=[piece for piece, _ in bad],
            paths=paths,
        )
    return HashedCheckpoint(checkpoint, tuple(zip(files, found, strict=True)))


def _sign(
    hashed: HashedCheckpoint,
    intent: Intent,
    info: V1Info,
    signer: Signer,
    second: PostQuantumSigner | None,
    team: Team | None,
) -> tuple[Manifest, bytes]:
    keys = [signer.public_key.fingerprint, *([second.public_key.fingerprint] if second else [])]
    publisher = team_publisher(team) if team else Publisher(intent.name.partition("/")[0], tuple(keys))
    manifest = replace(
        state(hashed, intent, publisher),
        torrent=TorrentFacts(info.name, intent.piece_length, False, adopts=info.v1_hash),
        critical=(ADOPTION,),
    )
    if team is None:
        return manifest, sign(manifest, signer, second).to_bytes()
    envelope = unsigned(manifest, [root.raw for root in team.chain])
    return manifest, add_signature(envelope, manifest.publisher, signer).to_bytes()


def _write(
    store: Store,
    record: Record,
    verified: VerifiedManifest,
    hashed: HashedCheckpoint,
    plain: Plain,
    magnet: str,
    out: Path | None,
) -> tuple[Path, Path]:
    """Write it down, in the store and in `out`; returns the places of torrent and manifest to post."""
    store.keep(record, envelope=verified.envelope)
    folder, name = store.folder(record), plain.name
    torrent = build_plain_torrent(plain.raw, trackers=record.trackers, web_seeds=record.web_seeds)
    places = folder / ADOPTED_TORRENT, folder / MANIFEST_NAME
    try:
        save_receipts(
            folder / "receipts.json",
            {file.path: Receipt.of(file.location, one.pieces_root) for file, one in hashed.files},
        )
        keep_layers(folder, [one for _, one in hashed.files])
        write_atomically(places[0], torrent)
        write_atomically(folder / "magnet", f"{magnet}\n".encode())
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            places = out / f"{name}.torrent", out / f"{name}.{MANIFEST_NAME}"
            write_atomically(places[0], torrent)
            write_atomically(places[1], verified.envelope)
            write_atomically(out / f"{name}.magnet", f"{magnet}\n".encode())
    except OSError as error:
        raise DiskError(
            f"The manifest could not be written: {error.filename or out}: {error.strerror or error}.",
            path=str(error.filename or out or folder),
        ) from error
    return places
