"""`verify`: hash a release again and hold it against what was signed."""

from __future__ import annotations

import time
from collections.abc import Sequence

from weightshare.api.offering import locate, problems_of
from weightshare.api.results import FileVerdict, Verified
from weightshare.api.trusting import Trustee
from weightshare.content.receipts import Receipt, save_receipts
from weightshare.content.store import Home, Store
from weightshare.content.verifier import FileReport, check_folder
from weightshare.progress import Observer, ignore


def verify(
    release: str, *, home: Home | None = None, trust: Sequence[str] = (), observe: Observer = ignore
) -> Verified:
    """Hash every file of a release and compare it with the signed manifest.

    Args:
        release: a name, an info-hash or a folder.
        home: where the store is.
        trust: fingerprints to pin if the publisher is unknown.
        observe: told how it goes.

    Returns:
        A verdict for every file; bad bytes are a verdict, not an exception.

    Raises:
        ReleaseNotFoundError: it is not here.
        TrustError, ManifestError: its manifest cannot be believed.
    """
    began = time.monotonic()
    home = home or Home.default()
    store = Store(home)
    located = locate(store, Trustee(home, trust), release)
    manifest = located.verified.manifest
    reports = check_folder(
        located.folder,
        located.verified,
        layers=located.layers,
        locations=located.locations,
        observe=observe,
    )
    record = located.record
    selected = record.selected if record is not None else None
    if selected is not None:
        # After `fetch --include` the files that were left out are not missing.
        reports = [r for r in reports if r.path in selected or r.problem != "missing"]
    if record is not None and record.complete and not problems_of(reports):
        save_receipts(
            store.folder(record) / "receipts.json",
            {e.path: Receipt.of(located.folder / e.path, e.pieces_root) for e in manifest.files},
        )
    warnings = list(located.verified.warnings)
    if selected is not None:
        warnings.append(f"only {len(selected)} of {len(manifest.files)} files were fetched")
    return Verified(
        ok=all(report.ok for report in reports),
        release=located.verified.release,
        publisher=located.verified.fingerprint,
        publisher_name=located.verified.publisher_name,
        path=located.folder,
        files=tuple(_verdict(report) for report in reports),
        bytes=manifest.size,
        seconds=time.monotonic() - began,
        piece_length=manifest.torrent.piece_length,
        warnings=tuple(warnings),
    )


def _verdict(report: FileReport) -> FileVerdict:
    return FileVerdict(
        path=report.path,
        ok=report.ok,
        problem=report.problem or None,
        bad_pieces=report.bad_pieces,
        expected=str(report.expected) if report.expected else None,
        found=str(report.found) if report.found else None,
    )
