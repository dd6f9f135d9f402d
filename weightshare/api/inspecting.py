"""`inspect`: what a release says of itself, with nothing heavier than the manifest and its configurations brought over.

The signature is checked either way; whether the signer is somebody this user knows is said, not demanded, since finding
out is what `inspect` is for. Configurations and chat templates are read only where the signature holds, and proven.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from weightshare.api.approaching import before_the_gate, begin
from weightshare.api.describing import described_here, described_there
from weightshare.api.forecasting import forecast
from weightshare.api.launching.embargo import sealing_of
from weightshare.api.offering import links_of, locate_envelope
from weightshare.api.results import Inspected, InspectedFile, InspectedTensor
from weightshare.api.sources import is_file, resolve
from weightshare.content.gguf_header import read_gguf_header
from weightshare.content.home import Home
from weightshare.content.safetensors_header import read_header
from weightshare.content.self_description import SelfDescription
from weightshare.content.store import Store
from weightshare.errors import (
    ReleaseNotFoundError,
    UnknownPublisherError,
    WeightshareError,
)
from weightshare.manifest.kinds import is_code, is_pickle
from weightshare.manifest.magnet_repair import holds_link
from weightshare.manifest.model import Manifest
from weightshare.progress import Observer, ignore
from weightshare.swarm.networks import Network
from weightshare.swarm.session import Session
from weightshare.swarm.states import Machine
from weightshare.swarm.torrent import Peer
from weightshare.trust import gate
from weightshare.trust.gate import Examined
from weightshare.trust.publishers import KnownPublishers


def inspect(
    source: str,
    *,
    home: Home | None = None,
    network: str = Network.PUBLIC,
    port: int | None = None,
    peers: Sequence[Peer] = (),
    dht_nodes: Sequence[Peer] = (),
    timeout: float = 300.0,
    observe: Observer = ignore,
) -> Inspected:
    """Read a release's manifest, from the swarm or from this disk.

    Args:
        source: what `fetch` takes, or a release, a folder or a manifest that is here.
        home: where the store and the known publishers are.
        network: `public`, `lan` or `local`.
        port: where to listen.
        peers: addresses to dial.
        dht_nodes: by which to enter the DHT on the public network; none for the public ones.
        timeout: longest time without any progress in seconds, 0 for ever.
        observe: told how it goes.

    Raises:
        TrustError: no signature, or one that does not hold.
        IntegrityError: a manifest or torrent that does not hold, or that do not match each other.
        NetworkError: the swarm did not deliver.
    """
    home = home or Home.default()
    known = KnownPublishers.load(home.known_publishers)
    text = source.strip()
    local = _local_envelope(home, text)
    if local is not None:
        examined = gate.examine(local.envelope, known)
        tensors, warnings = _tensors(examined.manifest, local.folder)
        says = None
        if local.folder is not None and _stands(examined):
            says, notes = described_here(examined.manifest, local.folder, local.locations)
            warnings = [*notes, *warnings]
        return _inspected(examined, local.hashes, tensors, says, warnings)
    target = resolve(text, Network(network))
    with (
        Session(
            network=Network(network),
            port=port,
            dht_nodes=dht_nodes,
            sealed=sealing_of(home, target.magnet, peers),
        ) as session,
        home.scratch() as scratch,
    ):
        transfer = begin(
            session,
            target,
            scratch,
            peers,
            machine=Machine(timeout, time.monotonic()),
            observe=observe,
        )
        info, envelope = before_the_gate(transfer, target, scratch, peers)
        examined = gate.examine(envelope, known, expect_publisher=target.magnet.publisher)
        gate.match(info, examined)
        says, warnings = None, []
        if _stands(examined):
            says, warnings = described_there(transfer, info, examined.manifest, scratch)
        session.remove(transfer.torrent)
    hashes = (info.v2_hash.hex(), info.v1_hash.hex() if info.v1_hash else None)
    return _inspected(examined, hashes, (), says, [*target.notes, *warnings])


def _stands(examined: Examined) -> bool:
    """Whether the signature is one that this user may come to believe: it holds, and nobody known disowns it."""
    return examined.problem is None or isinstance(examined.problem, UnknownPublisherError)


_Hashes = tuple[str | None, str | None]


@dataclass(frozen=True, slots=True)
class _Local:
    """A manifest on this disk, and what lies with it."""

    envelope: bytes
    folder: Path | None = None
    hashes: _Hashes = (None, None)
    locations: Mapping[str, Path] = field(default_factory=dict)


def _local_envelope(home: Home, source: str) -> _Local | None:
    """The manifest that is meant, if it is on this disk."""
    if source.startswith(("magnet:", "http://", "https://")):
        return None
    path = Path(source).expanduser()
    if is_file(str(path)):
        with path.open("rb") as file:
            if file.read(1) != b"{":
                return None
        return _Local(path.read_bytes())
    store = Store(home)
    try:
        envelope, folder, record = locate_envelope(store, source)
    except ReleaseNotFoundError:
        if _looks_like_hash(source) or holds_link(source):
            return None
        raise
    hashes: _Hashes = (record.info_hash_v2 or None, record.info_hash_v1) if record else (None, None)
    return _Local(envelope, folder, hashes, links_of(store, record))


def _looks_like_hash(text: str) -> bool:
    return len(text) in (40, 64, 68) and all(char in "0123456789abcdef" for char in text.lower())


def _inspected(
    examined: Examined,
    hashes: _Hashes,
    tensors: tuple[InspectedTensor, ...],
    says: SelfDescription | None,
    warnings: list[str],
) -> Inspected:
    manifest = examined.manifest
    if isinstance(examined.problem, UnknownPublisherError):
        warnings.insert(
            0, "the publisher is not one you know: the signature holds, but anybody can make a key"
        )
    elif examined.problem is not None:
        warnings.insert(0, examined.problem.message)
    weights = manifest.weights
    expected = forecast([entry.path for entry in manifest.files])
    return Inspected(
        release=manifest.release,
        publisher=examined.fingerprint,
        publisher_name=examined.publisher_name,
        claimed_name=manifest.publisher.name,
        trusted=examined.trusted,
        team=examined.standing.team.rule if examined.standing.team else None,
        info_hash_v2=hashes[0],
        info_hash_v1=hashes[1],
        torrent_name=manifest.torrent.name,
        piece_length=manifest.torrent.piece_length,
        hybrid=manifest.torrent.hybrid,
        sequence=manifest.model.sequence,
        released=manifest.model.released,
        summary=manifest.model.summary,
        license=manifest.license.spdx if manifest.license else None,
        source=f"{manifest.source.hub}@{manifest.source.revision}" if manifest.source else None,
        weights_format=weights.format if weights else None,
        parameters=weights.parameters if weights else None,
        dtypes=weights.dtypes if weights else (),
        files=tuple(
            InspectedFile(
                path=entry.path,
                size=entry.size,
                sha256=entry.sha256.hex(),
                pieces_root=entry.pieces_root.hex() if entry.pieces_root else None,
                media_type=entry.media_type,
                note="pickle" if is_pickle(entry.path) else "code" if is_code(entry.path) else "",
            )
            for entry in manifest.files
        ),
        bytes=manifest.size,
        tensors=tensors,
        says=says,
        layout=expected.layout,
        hindrances=expected.notes(),
        warnings=tuple(warnings),
    )


def _tensors(manifest: Manifest, folder: Path | None) -> tuple[tuple[InspectedTensor, ...], list[str]]:
    """Tensor names as the shards on this disk have them; the bytes are not proven here, and it is said."""
    found: list[InspectedTensor] = []
    warnings: list[str] = []
    if folder is None:
        return (), warnings
    for entry in manifest.files:
        path = folder / entry.path
        if path.suffix not in (".safetensors", ".gguf") or not path.is_file():
            continue
        try:
            header = (read_gguf_header if path.suffix == ".gguf" else read_header)(path, entry.path)
        except (WeightshareError, OSError) as error:
            warnings.append(str(error))
            continue
        found.extend(
            InspectedTensor(tensor.name, tensor.dtype, tensor.shape, entry.path) for tensor in header.tensors
        )
    if found:
        warnings.append("tensors are as the files on this disk say; `weightshare verify` proves the bytes")
    return tuple(found), warnings
