"""`fetch --dry-run`: what would be fetched, and from where. The gate has passed; nothing is written or hashed.

What other releases have counts only if, by all that the file system says, nobody has touched it since it was proven: so
no more should come from peers than is said here.
"""

from __future__ import annotations

from weightshare.api.gating import Passed, Wish
from weightshare.api.piece_reuse import PieceReuse
from weightshare.api.placing import chosen_spans, staging_of
from weightshare.api.results import Preview, PreviewedFile
from weightshare.api.reusing import sources_of
from weightshare.content.journal import Journal
from weightshare.content.receipts import load_receipts
from weightshare.content.store import Record, Store


def preview(passed: Passed, record: Record, store: Store, wish: Wish, pieces: PieceReuse) -> Preview:
    """What fetching a release would do now.

    Args:
        passed: what came through the gate.
        record: the release at its place, whether or not it is there yet.
        store: the releases on this machine.
        wish: what the user asked for.
        pieces: looks for single pieces of what is missing.

    Raises:
        UsageError: the globs leave nothing.
    """
    verified = passed.decision.verified
    spans = chosen_spans(passed.info, verified.release, wish.include, wish.exclude)
    receipts = load_receipts(store.folder(record) / "receipts.json")
    staged = staging_of(record) / passed.info.name
    sources = sources_of(spans, record, store)
    origins: dict[str, str] = {}
    for span in spans:
        path, place = span.file.path, record.path / span.file.path
        if path in receipts and receipts[path].still_holds(place):
            origins[path] = "here"
        elif path in sources and sources[path].holds():
            origins[path] = sources[path].record.release
        elif place.exists():
            origins[path] = "in the way"
        else:
            origins[path] = "begun" if (staged / path).exists() else "peers"
    missing = [span for span in spans if origins[span.file.path] in ("peers", "begun")]
    begun = Journal(store.folder(record) / "pieces").known if staged.exists() else {}
    found = pieces.find(missing, begun)
    files = [
        PreviewedFile(
            span.file.path,
            span.file.size,
            origins[span.file.path],
            found.by_release(span) if span in missing else {},
        )
        for span in spans
    ]
    return Preview(
        release=verified.release,
        publisher=verified.fingerprint,
        publisher_name=verified.publisher_name,
        path=record.path,
        files=tuple(files),
        warnings=passed.warnings,
    )
