"""The link as a QR picture, for a slide or a terminal; by `segno`, which the extra `qr` brings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from weightshare.errors import DiskError, MissingExtraError, UsageError
from weightshare.manifest.magnet import Magnet

if TYPE_CHECKING:
    import segno

_TERMINAL = 77
"""Modules a side that fit a terminal of 80 columns, each a column wide: QR's version 15 has so many."""
_PICTURE = 117
"""Modules a side that a phone still reads from a screen: version 25."""
_QUIET = 1  # modules of margin in a terminal, whose own background is more of it
_MARGIN, _SCALE = 4, 8  # ISO/IEC 18004 asks for four modules
_KINDS = (".svg", ".png")


@dataclass(frozen=True, slots=True)
class Picture:
    """A QR picture of a link.

    Attributes:
        text: what it holds: a magnet link.
        left_out: what of the link did not fit.
        rows: its modules, dark ones true.
    """

    text: str
    left_out: tuple[str, ...]
    rows: tuple[tuple[bool, ...], ...]


def picture(magnet: Magnet, *, modules: int = _TERMINAL) -> Picture:
    """The smallest QR code of a link, shortened to its hashes and the publisher's key where it would get too large.

    Args:
        magnet: the link.
        modules: the largest side.

    Raises:
        MissingExtraError: segno is not installed.
    """
    bare = Magnet(
        v2_hash=magnet.v2_hash, v1_hash=magnet.v1_hash, publisher=magnet.publisher, embargo=magnet.embargo
    )
    parts = (
        ("the name", magnet.name),
        ("trackers", magnet.trackers),
        ("web seeds", magnet.web_seeds),
        ("URLs of the .torrent", magnet.sources),
        ("peers", magnet.peers),
    )
    shown, left_out = magnet, tuple[str, ...]()
    code = _code(str(shown))
    if code.symbol_size(border=0)[0] > modules:
        shown, left_out = bare, tuple(name for name, values in parts if values)
        code = _code(str(shown))
    rows = tuple(tuple(bool(module) for module in row) for row in code.matrix)
    return Picture(str(shown), left_out, rows)


def half_blocks(made: Picture) -> str:
    """A picture for a terminal, two rows of modules a line.

    Light modules are drawn and dark ones are not, as most terminals are dark themselves.
    """
    wide = len(made.rows) + 2 * _QUIET
    empty = (False,) * wide
    rows = [empty] * _QUIET
    rows += [(False,) * _QUIET + row + (False,) * _QUIET for row in made.rows]
    rows += [empty] * _QUIET
    if len(rows) % 2:
        rows.append(empty)
    marks = {(False, False): "█", (False, True): "▀", (True, False): "▄", (True, True): " "}
    return "\n".join(
        "".join(marks[pair] for pair in zip(upper, lower, strict=True))
        for upper, lower in zip(rows[::2], rows[1::2], strict=True)
    )


def write(magnet: Magnet, path: Path) -> Picture:
    """Write a picture as SVG or PNG, by the file's ending.

    Raises:
        UsageError: another ending.
        MissingExtraError: segno is not installed.
        DiskError: it cannot be written.
    """
    if path.suffix.lower() not in _KINDS:
        raise UsageError(f"{path} ends neither in .svg nor in .png.", hint="Name the picture qr.svg, say.")
    made = picture(magnet, modules=_PICTURE)
    try:
        _code(made.text).save(str(path), scale=_SCALE, border=_MARGIN, kind=path.suffix[1:].lower())
    except OSError as error:
        raise DiskError(
            f"{path} cannot be written: {error.strerror or error}.",
            hint="Name another place.",
            path=str(path),
        ) from error
    return made


def _code(text: str) -> segno.QRCode:
    try:
        import segno
    except ImportError as error:
        raise MissingExtraError(
            "QR pictures need segno.", hint="pip install 'weightshare[qr]'", package="segno"
        ) from error
    return segno.make_qr(text, error="l", boost_error=False)
