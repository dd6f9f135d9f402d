"""How long a source is left alone, by its own words and by ours."""

from __future__ import annotations

import random

import pytest

from tests.hub_server import http_date
from weightshare.hub.backoff import Pace, Patience, retry_after


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": " 0 "}, 0.0),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:30 GMT", "Date": "Wed, 21 Oct 2015 07:28:00 GMT"}, 30.0),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT", "Date": "Wed, 21 Oct 2015 07:29:00 GMT"}, 0.0),
        ({"RateLimit": '"api";r=0;t=55'}, 55.0),
        ({"RateLimit": '"api";r=9;t=55'}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "²"}, None),
        ({"Retry-After": "9" * 40}, 999999999.0),
        ({}, None),
    ],
)
def test_what_an_answer_asks(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


def test_a_date_without_the_servers_clock_says_nothing() -> None:
    """Ours may be years off, or be set while we wait."""
    assert retry_after({"Retry-After": http_date(20)}) is None


def test_waits_grow_and_have_an_end() -> None:
    pace = Pace(Patience(first=1, wait=8), random.Random(1))
    for attempt, most in ((1, 1), (2, 2), (3, 4), (4, 8), (9, 8), (2000, 8)):
        waits = [pace.delay(attempt, None) for _ in range(50)]
        assert most / 2 <= min(waits) < max(waits) <= most
    asked = [pace.delay(1, 20.0) for _ in range(50)]
    assert 20 <= min(asked) < max(asked) <= 21
