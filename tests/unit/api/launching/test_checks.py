"""What a rehearsal makes of what was met, check by check."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest

from weightshare.api.doctoring.checks import Outcome
from weightshare.api.downloads import Part
from weightshare.api.launching import checks_swarm, checks_torrent
from weightshare.api.launching.checks_caps import upload_cap
from weightshare.api.launching.checks_web import Sample, judge
from weightshare.api.launching.strangers import Met
from weightshare.limits import Budget, Effective
from weightshare.manifest import bencode
from weightshare.swarm.networks import Network
from weightshare.swarm.reach import Reach
from weightshare.units import GIB, KIB

DATA = bytes(range(256)) * 64
SAMPLE = Sample("m.safetensors", 3 * len(DATA), len(DATA), len(DATA), hashlib.sha256(DATA).digest(), 1)
URL = "http://seed.example/m/"
SPAN = f"bytes {len(DATA)}-{2 * len(DATA) - 1}/{3 * len(DATA)}"


@pytest.mark.parametrize(
    ("answer", "outcome", "words"),
    [
        (Part(206, URL, SPAN, DATA), Outcome.OK, "are right"),
        (Part(206, "https://cdn.example/x", SPAN, DATA), Outcome.OK, "redirected to cdn.example"),
        (Part(206, URL, SPAN.replace("/49152", "/*"), DATA), Outcome.OK, "are right"),
        (Part(200, URL, "", DATA * 2), Outcome.FAIL, "ignores ranges"),
        (Part(206, URL, "bytes 0-16383/49152", DATA), Outcome.FAIL, "wrong Content-Range"),
        (Part(206, URL, "", DATA), Outcome.FAIL, "wrong Content-Range"),
        (Part(206, URL, SPAN.replace("/49152", "/5"), DATA), Outcome.FAIL, "has 5 bytes there"),
        (Part(206, URL, SPAN, DATA[:-1]), Outcome.FAIL, "other bytes"),
        (Part(206, URL, SPAN, DATA + b"x"), Outcome.FAIL, "other bytes"),
        (Part(206, URL, SPAN, b"\xff" + DATA[1:]), Outcome.FAIL, "other bytes"),
        (Part(404, URL, "", b""), Outcome.FAIL, "404"),
        (Part(429, URL, "", b""), Outcome.FAIL, "429"),
    ],
)
def test_web_seeds(answer: Part, outcome: Outcome, words: str) -> None:
    check = judge(answer, SAMPLE, URL)
    assert check.outcome is outcome, check
    assert words in check.finding


def test_a_port_is_open_only_where_somebody_came_in() -> None:
    def outcome(reach: Reach | None, network: Network = Network.PUBLIC) -> tuple[Outcome, str]:
        check = checks_swarm.port_check(reach, network, 6881)
        return check.outcome, check.finding

    assert outcome(Reach(reached=True))[0] is Outcome.OK
    mapped = outcome(Reach(mapped=("TCP 6881 by UPnP",)))
    assert mapped[0] is Outcome.WARN
    assert "not proven" in mapped[1]
    assert "cannot be told" in outcome(Reach(refused=("UPnP: no router found",)))[1]
    assert outcome(None)[0] is Outcome.SKIP
    assert outcome(Reach(), Network.LOCAL)[0] is Outcome.SKIP


def survey(**facts: Any) -> Met:
    step = {
        "ok": True,
        "nodes": 9,
        "named": [],
        "addresses": [],
        "mirrors": [],
        "answered": {},
        "failed": {},
    }
    return Met({"survey": step | facts})


def test_the_dht_has_us_where_a_second_node_is_told_so() -> None:
    def outcome(met: Met) -> Outcome:
        return checks_swarm.dht_check(met, Network.PUBLIC, 6881, ("192.0.2.1",)).outcome

    assert outcome(survey(named=[["192.0.2.1", 6881]])) is Outcome.OK
    assert outcome(survey(named=[["203.0.113.1", 6881]], addresses=["203.0.113.1"])) is Outcome.OK
    assert outcome(survey(named=[["203.0.113.1", 7000]])) is Outcome.WARN
    assert outcome(survey()) is Outcome.FAIL
    assert outcome(survey(nodes=0)) is Outcome.FAIL
    assert outcome(Met(trouble="it was not done")) is Outcome.FAIL


@pytest.mark.parametrize(
    ("found", "wanted", "outcome"),
    [
        ([], None, Outcome.WARN),
        ([], 0, Outcome.OK),
        (["192.0.2.7"], None, Outcome.OK),
        (["192.0.2.7"], 2, Outcome.FAIL),
        (["192.0.2.7", "192.0.2.8"], 2, Outcome.OK),
    ],
)
def test_mirrors(found: list[str], wanted: int | None, outcome: Outcome) -> None:
    assert checks_swarm.mirrors_check(survey(mirrors=found), wanted).outcome is outcome


def test_a_link_that_leads_nowhere_is_told_from_a_seeder_that_does_not_serve() -> None:
    lost = Met({"gate": {"step": "gate", "ok": False, "error": "No peers in 4 s.", "code": 5}})
    came = Met({"gate": {"step": "gate", "ok": True, "seconds": 0.2}})
    assert checks_swarm.link_check(came, None).outcome is Outcome.OK
    assert "told our address" in checks_swarm.link_check(lost, came).finding
    assert "did not come through" in checks_swarm.link_check(lost, lost).finding
    assert checks_swarm.link_check(replace(lost, steps={}), None).outcome is Outcome.FAIL


def test_caps_that_make_day_one_take_weeks() -> None:
    def outcome(**limits: Any) -> Outcome:
        return upload_cap(100 * GIB, Effective(**limits)).outcome

    assert outcome() is Outcome.OK
    assert outcome(max_up=100 * 1024 * KIB) is Outcome.OK
    assert outcome(max_up=512 * KIB) is Outcome.WARN
    assert outcome(budget=Budget(per_day=10 * GIB)) is Outcome.WARN
    assert outcome(budget=Budget(per_day=200 * GIB)) is Outcome.OK
    assert outcome(budget=Budget(ratio=1.0)) is Outcome.WARN


def test_a_torrent_that_libtorrent_refuses_by_default() -> None:
    info: dict[bytes, object] = {
        b"name": b"m",
        b"piece length": 16384,
        b"pieces": bytes(20),
        b"length": 1,
    }
    good = bencode.encode({b"info": info})
    assert checks_torrent.loads(good).outcome is Outcome.OK
    # Over `max_buffer_size`, 10,000,000 bytes: refused, however right the rest.
    large = bencode.encode({b"comment": b"x" * 10_000_000, b"info": info})
    assert checks_torrent.loads(large).outcome is Outcome.FAIL
    assert checks_torrent.loads(large).code == 4
    assert checks_torrent.loads(b"d4:infodee").outcome is Outcome.FAIL
