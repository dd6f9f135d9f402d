"""How a release is recorded that is new here, and where it lies unless a folder is named."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from weightshare.content.store import Kind, Record, Store
from weightshare.manifest.metainfo import Info
from weightshare.manifest.model import Manifest


def new_record(
    manifest: Manifest,
    publisher: str,
    path: Path,
    info: Info | None,
    kind: Kind,
    *,
    trackers: Sequence[str] = (),
    web_seeds: Sequence[str] = (),
) -> Record:
    """A record made now: complete where the user published what is there, not begun where it is to be fetched.

    Args:
        manifest: the release's.
        publisher: fingerprint of its signer.
        path: the folder of its files.
        info: of the torrent that carries the manifest; None for a v1 torrent that the manifest adopts.
        kind: whose the files are.
        trackers: where to announce.
        web_seeds: BEP 19 URLs.
    """
    v1 = info.v1_hash if info is not None else manifest.torrent.adopts
    return Record(
        info_hash_v2=info.v2_hash.hex() if info is not None else "",
        info_hash_v1=v1.hex() if v1 else None,
        release=manifest.release,
        publisher=publisher,
        kind=kind,
        path=path,
        bytes=manifest.size,
        complete=kind == "published",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        trackers=tuple(trackers),
        web_seeds=tuple(web_seeds),
    )


def default_folder(store: Store, manifest: Manifest, info_hash: str) -> Path:
    """The folder of the home for a release, none in which another lies.

    Args:
        store: what lies where.
        manifest: the release's.
        info_hash: what names it, in hex.
    """
    model = manifest.model
    folder = store.home.models / Path(*model.id.split("/")) / model.version
    if any(other.info_hash != info_hash for other in store.at(folder)):
        return folder.with_name(f"{model.version}-{info_hash[:8]}")
    return folder
