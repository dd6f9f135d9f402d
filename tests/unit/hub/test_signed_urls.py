"""When a signed URL ends, by its own words."""

from __future__ import annotations

import base64
import json
import time

import pytest

from weightshare.hub.signed_urls import expiry, kept_until

POLICY = base64.b64encode(
    json.dumps({"Statement": [{"Condition": {"DateLessThan": {"AWS:EpochTime": 1700000000}}}]}).encode()
).decode()


@pytest.mark.parametrize(
    ("query", "end"),
    [
        ("Expires=1700000000&Signature=x", 1700000000.0),
        ("X-Amz-Date=20231114T221310Z&X-Amz-Expires=10&X-Amz-Signature=x", 1700000000.0),
        ("X-Goog-Date=20231114T221310Z&X-Goog-Expires=10", 1700000000.0),
        ("sv=1&se=2023-11-14T22:13:20Z&sig=x", 1700000000.0),
        (f"Policy={POLICY.translate(str.maketrans('+=/', '-_~'))}&Signature=x", 1700000000.0),
        ("Expires=never", None),
        ("Policy=@@@@", None),
        ("X-Amz-Date=20231114T221310Z&X-Amz-Expires=long", None),
        ("a=b", None),
        ("", None),
    ],
)
def test_its_end(query: str, end: float | None) -> None:
    assert expiry(f"https://store.example/file?{query}") == end


def test_the_servers_clock_counts_and_the_end_is_not_waited_for() -> None:
    """Our clock may be years off: what counts is the life that the server gave."""
    left = kept_until("https://store.example/f?Expires=1700003600", {"Date": "Tue, 14 Nov 2023 22:13:20 GMT"})
    assert 3580 < left - time.monotonic() <= 3590
    short = kept_until(
        "https://store.example/f?Expires=1700000003", {"Date": "Tue, 14 Nov 2023 22:13:20 GMT"}
    )
    assert 2 < short - time.monotonic() <= 2.7
