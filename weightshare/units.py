"""Sizes, limits and the two ways they meet a person: parsed from an option, printed for a reader.

The limits are those of the manifest format; a parser that meets more refuses before it allocates.
"""

from __future__ import annotations

import re

from weightshare.errors import UsageError

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

BLOCK = 16 * KIB
"""A BitTorrent v2 leaf, in bytes (BEP 52)."""

MAX_ENVELOPE = 16 * MIB
MAX_INFO = 8 * MIB
MAX_TORRENT = 256 * MIB
MAX_FILES = 10_000
MAX_PATH = 1024
MAX_PART = 255
MAX_PATH_DEPTH = 16
MAX_JSON_DEPTH = 32
MAX_JSON_INTEGER = 2**53 - 1
MAX_SIGNATURES = 64
MAX_ROOTS = 256
MAX_ROOT = 512_000
MAX_SAFETENSORS_HEADER = 100_000_000

_FACTORS = {"": 1, "K": KIB, "M": MIB, "G": GIB, "T": 1024 * GIB}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?(?:/s)?", re.IGNORECASE)

_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd]?)")


def parse_size(text: str) -> int:
    """Bytes named by a text such as `4096`, `16K`, `1.5M` or `2GiB` (K, M, G, T are powers of 1024).

    Raises:
        UsageError: the text is no size.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise UsageError(
            f"{text!r} is not a size.", hint="Write bytes, or a number with K, M, G or T: 4096, 16K, 12M."
        )
    return int(float(match[1]) * _FACTORS[match[2].upper()])


def parse_duration(text: str) -> float:
    """Seconds named by a text such as `90`, `90s`, `10m`, `2h` or `1d`.

    Raises:
        UsageError: the text is no duration.
    """
    match = _DURATION.fullmatch(text.strip().lower())
    if match is None:
        raise UsageError(
            f"{text!r} is not a duration.", hint="Write seconds, or a number with s, m, h or d: 90, 10m, 2h."
        )
    return float(match[1]) * _SECONDS[match[2]]


def format_size(count: float) -> str:
    """A byte count for a reader: `812 B`, `90.9 MiB`, `1.25 GiB`."""
    if count < KIB:
        return f"{int(count)} B"
    for unit, factor in (("KiB", KIB), ("MiB", MIB), ("GiB", GIB)):
        if count < factor * KIB:
            value = count / factor
            return f"{value:.2f} {unit}" if value < 10 else f"{value:.1f} {unit}"
    return f"{count / (GIB * KIB):.2f} TiB"


def format_rate(bytes_per_second: float) -> str:
    """A rate for a reader: `312.0 MiB/s`; zero is `0 B/s`, never an empty text."""
    return f"{format_size(bytes_per_second)}/s"


def format_duration(seconds: float) -> str:
    """A duration for a reader: `4 s`, `3 min 20 s`, `2 h 05 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"
