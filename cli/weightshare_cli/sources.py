"""A SOURCE as typed: itself, or `-` for what comes in on stdin."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from weightshare.errors import UsageError
from weightshare.units import MAX_TORRENT, format_size

_TORRENT = re.compile(rb"d\d+:")


@contextmanager
def given(source: str) -> Iterator[str]:
    """The source to hand to the library; `-` is read from stdin: a link, a path, or a `.torrent` itself.

    Raises:
        UsageError: nothing came, or too much.
    """
    if source != "-":
        yield source.strip()
        return
    data = sys.stdin.buffer.read(MAX_TORRENT + 1)
    if len(data) > MAX_TORRENT:
        raise UsageError(f"What came on stdin is larger than {format_size(MAX_TORRENT)}, so it is no source.")
    if _TORRENT.match(data):
        with tempfile.TemporaryDirectory(prefix="weightshare-") as folder:
            path = Path(folder, "stdin.torrent")
            path.write_bytes(data)
            yield str(path)
        return
    try:
        text = data.decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise UsageError("What came on stdin is neither text nor a .torrent.") from error
    if not text or ("\n" in text and not _is_one_link(text)):
        found = "nothing" if not text else "several lines"
        raise UsageError(
            f"Expected one magnet link, path or .torrent on stdin; found {found}.",
            hint="Pipe in one source: echo 'magnet:?xt=…' | weightshare fetch -",
        )
    yield text


def _is_one_link(text: str) -> bool:
    """Whether several lines are one link that a mail or a chat has wrapped."""
    from weightshare.manifest.magnet_repair import repair

    repaired = repair(text)
    whole = repaired.text.lower().startswith("magnet:") and len(repaired.text.split()) == 1
    return whole and "a second link" not in " ".join(repaired.dropped)
