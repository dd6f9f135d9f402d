"""`fetch --dry-run`: what would be fetched, and from where. The gate has passed; nothing is written or hashed.

What other releases have counts only if, by all that the file system says, nobody has touched it since it was proven: so
no more should come from peers than is said here.
"""

from __future__ import annotations

from weightshare.api.cache_placing import CachePlace
from weightshare.api.gating import Passed, Wish
from weightshare.api.piece_reuse import PieceReuse
from weightshare.api.placing import chosen_spans, staging_of, still_in_place
from weightshare.api.results import Preview, PreviewedFile
from weightshare.api.reusing import sources_of
from weightshare.api.twins import names_of
from weightshare.content.journal import Journal
from weightshare.content.store import Record, Store
from weightshare.manifest.pieces import PieceMap


def preview(
    passed: Passed,
    record: Record,
    store: Store,
    wish: Wish,
    pieces: PieceReuse,
    placer: CachePlace | None = None,
) -> Preview:
    """What fetching a release would do now.

    Args:
        passed: what came through the gate.
        record: the release at its place, whether or not it is there yet.
        store: the releases on this machine.
        wish: what the user asked for.
        pieces: looks for single pieces of what is missing.
        placer: knows the Hub's cache, if that is where it goes.

    Raises:
        UsageError: the globs leave nothing.
    """
    verified = passed.decision.verified
    spans = chosen_spans(passed.info, verified.release, wish.include, wish.exclude)
    staged = staging_of(record) / passed.info.name
    own = still_in_place(record, store.folder(record))
    sources = sources_of(spans, record, store, own)
    origins: dict[str, str] = {}
    for span in spans:
        path, place = span.file.path, record.path / span.file.path
        if path in own:
            origins[path] = "here"
        elif placer is not None and placer.candidates(path):
            origins[path] = "in the Hub's cache"
        elif place.exists():
            origins[path] = "in the way"
        elif path in sources and sources[path].holds():
            source = sources[path]
            same = source.record is not None and source.record.id == record.id
            origins[path] = f"same as {source.path}" if same else source.name
    names = names_of(passed.info, [span for span in spans if span.file.path not in origins])
    brought = [span for span in PieceMap(passed.info).spans if span.position in names]
    begun = Journal(store.folder(record) / "pieces").known if staged.exists() else {}
    found = pieces.find(brought, begun)
    taken: dict[str, dict[str, int]] = {}
    for span in brought:
        first, *further = (each.file.path for each in names[span.position])
        origins[first] = "begun" if (staged / span.file.path).exists() else "peers"
        origins |= dict.fromkeys(further, f"same as {first}")
        taken[first] = found.by_release(span)
    files = [
        PreviewedFile(
            span.file.path,
            span.file.size,
            origins[span.file.path],
            taken.get(span.file.path, {}),
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
