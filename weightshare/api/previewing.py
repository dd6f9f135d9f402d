"""`fetch --dry-run`: what would be fetched, and from where. The gate has passed; nothing is written or hashed."""

from __future__ import annotations

from weightshare.api.gating import Passed, Wish
from weightshare.api.placing import chosen_spans, staging_of
from weightshare.api.results import Preview, PreviewedFile
from weightshare.api.reusing import sources_of
from weightshare.content.receipts import load_receipts
from weightshare.content.store import Record, Store


def preview(passed: Passed, record: Record, store: Store, wish: Wish) -> Preview:
    """What fetching a release would do now.

    Args:
        passed: what came through the gate.
        record: the release at its place, whether or not it is there yet.
        store: the releases on this machine.
        wish: what the user asked for.

    Raises:
        UsageError: the globs leave nothing.
    """
    verified = passed.decision.verified
    spans = chosen_spans(passed.info, verified.release, wish.include, wish.exclude)
    receipts = load_receipts(store.folder(record) / "receipts.json")
    staged = staging_of(record) / passed.info.name
    sources = sources_of(spans, record, store)
    files = []
    for span in spans:
        path, place = span.file.path, record.path / span.file.path
        if path in receipts and receipts[path].still_holds(place):
            source = "here"
        elif path in sources:
            source = sources[path].record.release
        elif place.exists():
            source = "in the way"
        else:
            source = "begun" if (staged / path).exists() else "peers"
        files.append(PreviewedFile(path, span.file.size, source))
    return Preview(
        release=verified.release,
        publisher=verified.fingerprint,
        publisher_name=verified.publisher_name,
        path=record.path,
        files=tuple(files),
        warnings=passed.warnings,
    )
