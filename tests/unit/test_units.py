"""Sizes, rates and durations, in and out."""

from __future__ import annotations

import pytest

from weightshare.errors import UsageError
from weightshare.units import (
    GIB,
    KIB,
    MIB,
    format_duration,
    format_rate,
    format_size,
    parse_duration,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0", 0),
        ("4096", 4096),
        ("16K", 16 * KIB),
        ("12M", 12 * MIB),
        ("12m", 12 * MIB),
        ("1.5G", 3 * GIB // 2),
        (" 2GiB ", 2 * GIB),
        ("3MB/s", 3 * MIB),
        ("1T", 1024 * GIB),
    ],
)
def test_parse_size(text: str, count: int) -> None:
    assert parse_size(text) == count


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0), ("90", 90), ("90s", 90), ("1.5m", 90), (" 2H ", 7200), ("1d", 86400)]
)
def test_parse_duration(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-1", "1,5m", "10 minutes", "1h30m", "inf"])
def test_what_is_no_duration_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="is not a duration"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["", "M", "-1", "1,5M", "12 parsecs", "1e3", "0x10", "NaN"])
def test_what_is_no_size_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_size(text)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.00 KiB"),
        (90_900_000, "86.7 MiB"),
        (GIB, "1.00 GiB"),
        (140 * GIB, "140.0 GiB"),
        (1024 * GIB, "1.00 TiB"),
    ],
)
def test_format_size(count: int, text: str) -> None:
    assert format_size(count) == text
    assert format_rate(count) == f"{text}/s"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (59.4, "59 s"), (60, "1 min 00 s"), (3599, "59 min 59 s"), (7500, "2 h 05 min")],
)
def test_format_duration(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
