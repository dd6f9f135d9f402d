"""QR pictures of links, read back by another program where it is installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from weightshare.api.launching.qr import half_blocks, picture, write
from weightshare.errors import UsageError
from weightshare.manifest.magnet import Magnet, parse

pytest.importorskip("segno")

SHORT = Magnet(
    v2_hash=b"\1" * 32,
    v1_hash=b"\2" * 20,
    name="m7b",
    trackers=("udp://tracker.opentrackr.org:1337/announce",),
    publisher=b"\3" * 32,
)
LONG = Magnet(
    v2_hash=b"\1" * 32,
    v1_hash=b"\2" * 20,
    name="m7b",
    trackers=tuple(f"udp://tracker-{number}.example.org:1337/announce" for number in range(40)),
    publisher=b"\3" * 32,
)


def test_a_link_is_drawn_whole_and_fits_a_terminal() -> None:
    made = picture(SHORT)
    assert parse(made.text) == SHORT
    assert made.left_out == ()
    lines = half_blocks(made).splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) == -(-(len(made.rows) + 2) // 2)


def test_a_long_link_is_shortened_to_what_names_and_proves_it() -> None:
    made = picture(LONG)
    assert parse(made.text) == Magnet(v2_hash=LONG.v2_hash, v1_hash=LONG.v1_hash, publisher=LONG.publisher)
    assert made.left_out == ("the name", "trackers")


@pytest.mark.parametrize("magnet", [SHORT, LONG])
def test_another_program_reads_them(magnet: Magnet) -> None:
    zxing = pytest.importorskip("zxingcpp")
    numpy = pytest.importorskip("numpy")
    made = picture(magnet)
    rows: list[list[bool]] = []
    for line in half_blocks(made).splitlines():
        rows.append([mark in "█▀" for mark in line])
        rows.append([mark in "█▄" for mark in line])
    image = numpy.kron(numpy.array(rows, dtype=numpy.uint8) * 255, numpy.ones((4, 4), dtype=numpy.uint8))
    assert zxing.read_barcode(numpy.pad(image, 16, constant_values=255)).text == made.text


@pytest.mark.parametrize("ending", ["svg", "png"])
def test_a_picture_is_written(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"qr.{ending}"
    write(SHORT, path)
    assert path.read_bytes()[:5] in (b"<?xml", b"\x89PNG\r")


def test_another_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.png"):
        write(SHORT, tmp_path / "qr.gif")
