"""The facts of a release for the texts that announce it, from the release itself."""

from __future__ import annotations

from weightshare.api.launching.posts import Facts
from weightshare.api.launching.standing import Standing


def facts_of(standing: Standing) -> Facts:
    """What the post and the README block say; always of the link that is posted, under embargo too."""
    magnet, manifest = standing.magnet, standing.manifest
    pages = [url for url in magnet.sources if url.startswith("https://")] or list(magnet.sources)
    return Facts(
        release=standing.record.release,
        size=manifest.size,
        files=len(manifest.files),
        publisher=standing.record.publisher,
        v2=standing.record.info_hash_v2,
        v1=standing.record.info_hash_v1 or "",
        magnet=str(magnet),
        page=pages[0] if pages else "",
        license=manifest.license.spdx if manifest.license is not None else "",
    )
