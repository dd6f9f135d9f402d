"""Limits on running seeders and fetches: they bind, they change at once, and what is spent stays spent."""

from __future__ import annotations

import contextlib
import json
import re
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.builders_checkpoints import place, shard
from tests.cli.helpers import ok, result
from tests.integration.metering import Leech
from tests.integration.releases import Published, publish
from tests.integration.running import Running, Seeder, seeding
from tests.integration.waiting import until
from weightshare.units import KIB, MIB

SIZE = 96 * MIB
TOLERANCE = 0.2
UNTOUCHED = 100 * MIB
"""More than any rate that is set here."""


@pytest.fixture
def published(tmp_path: Path) -> Published:
    home = tmp_path / "maintainer"
    return publish(home, place(home / "model", {"model.safetensors": shard(SIZE)}))


def limits(home: Path, *words: str) -> dict[str, Any]:
    return result(home, "limits", *words)


def leech(folder: Path, published: Published, seeder: Seeder) -> Leech:
    return Leech(folder / "leech", str(published.facts["torrent"]), seeder.peer)


def said(seeder: Running, event: str = "limits") -> list[dict[str, Any]]:
    """The whole lines of a kind that a seeder has put on stdout."""
    lines = [line for line in seeder.out().splitlines(keepends=True) if line.endswith("\n")]
    return [value for value in map(json.loads, lines) if value.get("event") == event]


def until_said(seeder: Running, **facts: object) -> dict[str, Any]:
    """The first event about limits with these facts, waited for."""
    return until(
        lambda: next((e for e in said(seeder) if all(e[name] == facts[name] for name in facts)), {}),
        f"limits with {facts}",
        within=25,
    )


def near(rate: float) -> tuple[float, float]:
    return rate * (1 - TOLERANCE), rate * (1 + TOLERANCE)


# ---- on a running seeder


def test_a_cap_on_a_running_seeder_is_changed_and_taken_back(published: Published, tmp_path: Path) -> None:
    with seeding(published.home, "--max-up", "6M") as seeder, leech(tmp_path, published, seeder) as peer:
        peer.until_rate(*near(6 * MIB))
        assert limits(published.home, "--max-up", "1M")["max_up"] == MIB
        until_said(seeder, max_up=MIB)
        peer.until_rate(*near(MIB), within=6)
        assert limits(published.home, "--reset")["max_up"] == 0
        until_said(seeder, max_up=6 * MIB, sources=said(seeder)[0]["sources"])
        peer.until_rate(*near(6 * MIB), within=6)
        assert peer.rate(2) <= near(6 * MIB)[1]


def test_the_file_is_followed_and_a_bad_one_changes_nothing(published: Published, tmp_path: Path) -> None:
    config = published.home / "weightshare" / "config.toml"
    config.write_text('max-up = "4M"\n')
    with seeding(published.home) as seeder, leech(tmp_path, published, seeder) as peer:
        peer.until_rate(*near(4 * MIB))
        config.write_text('max-up = "2M"\n')
        until_said(seeder, max_up=2 * MIB)
        peer.until_rate(*near(2 * MIB), within=6)

        config.write_text('max-upp = "8M"\n')
        until(lambda: "max-upp" in seeder.err(), "a warning")
        assert "What held before goes on to hold" in " ".join(seeder.err().split())
        peer.until_rate(*near(2 * MIB), within=6)
        assert seeder.err().count("max-upp") == 1

        config.write_text('[[schedule]]\nfrom = "00:00"\nto = "24:00"\nmax-up = "1M"\n')
        until_said(seeder, max_up=MIB)
        assert said(seeder)[-1]["sources"]["max_up"] == "schedule"
        peer.until_rate(*near(MIB), within=6)
        config.unlink()
        until_said(seeder, max_up=0)
        assert seeder.stop()["event"] == "stopped"


def test_a_running_fetch_follows(published: Published, tmp_path: Path) -> None:
    user = tmp_path / "user"
    user.mkdir()
    limits(user, "--max-down", "1M")
    with seeding(published.home) as seeder:
        words = ("fetch", published.magnet, "out", *published.trust, "--peer", seeder.peer, "--json")
        with Running(user, *words, "--max-down", "50M") as running:
            shown = until(lambda: re.findall(r"([\d.]+) MiB/s", running.err()), "a rate to be shown")
            assert float(shown[-1]) <= 1 + TOLERANCE
            limits(user, "--reset")
            fetched = running.result(within=40)
    assert fetched["seconds"] < SIZE / MIB / 2


# ---- connections


@contextlib.contextmanager
def peers_of(published: Published, seeder: Seeder, count: int) -> Iterator[list[socket.socket]]:
    """Connections that have said the handshake of BEP 3."""
    with contextlib.ExitStack() as stack:
        opened = []
        for number in range(count):
            wire = stack.enter_context(socket.create_connection(("127.0.0.1", seeder.port), 5))
            info_hash = bytes.fromhex(str(published.facts["info_hash_v1"]))
            with contextlib.suppress(ConnectionError):  # refused at once
                wire.sendall(b"\x13BitTorrent protocol" + bytes(8) + info_hash + b"-TS%017d" % number)
            wire.setblocking(False)
            opened.append(wire)
        yield opened


def alive(wires: Sequence[socket.socket]) -> int:
    """How many of them the other side holds open; what has come is read and thrown away."""
    return sum(_is_open(wire) for wire in wires)


def _is_open(wire: socket.socket) -> bool:
    try:
        while wire.recv(65536):
            pass
    except BlockingIOError:
        return True
    except ConnectionError:
        return False
    return False


def test_connections_are_limited_and_the_limit_changed(published: Published) -> None:
    with seeding(published.home, "--max-connections", "3") as seeder:
        with peers_of(published, seeder, 8) as wires:
            until(lambda: alive(wires) == 3, "five connections to be refused")
            limits(published.home, "--max-connections", "1")
            until(lambda: alive(wires) == 1, "two more to be ended", within=6)
        limits(published.home, "--max-connections", "6")
        until_said(seeder, max_connections=6)
        with peers_of(published, seeder, 8) as wires:
            until(lambda: alive(wires) == 6, "two connections to be refused")
        limits(published.home, "--max-connections", "0")
        until_said(seeder, max_connections=0)
        with peers_of(published, seeder, 12) as wires:
            assert until(lambda: alive(wires) == 12, "nobody to be refused")


# ---- budgets


def test_the_days_budget_ends_uploads_and_a_restart_remembers(published: Published, tmp_path: Path) -> None:
    budget = 8 * MIB
    words = ("--upload-per-day", str(budget))
    with seeding(published.home, *words) as seeder, leech(tmp_path, published, seeder) as peer:
        until_said(seeder, uploads=False)
        last = peer.settled(2)
        assert budget - MIB <= last.arrived <= budget + MIB  # however fast loopback is
        assert last.peers == 1  # choked, not shown the door
        until(lambda: "upload budget of 8.00 MiB for today used up" in seeder.err(), "the reason")
        assert seeder.stop()["uploaded"] <= budget + MIB
    told = limits(published.home)
    assert budget <= told["given_today"] <= budget + MIB

    with seeding(published.home, *words) as seeder, leech(tmp_path / "2", published, seeder) as peer:
        until(lambda: peer.now().peers == 1, "the peer to be connected")
        assert said(seeder)[0]["uploads"] is False
        assert peer.settled(2).arrived == 0
        limits(published.home, "--upload-per-day", "0")
        peer.after(budget, within=10)


def test_what_was_given_outlives_a_kill(published: Published, tmp_path: Path) -> None:
    rate = 2 * MIB
    with seeding(published.home, "--max-up", str(rate)) as seeder, leech(tmp_path, published, seeder) as peer:
        until(lambda: limits(published.home)["given_today"] > 0, "the first bytes to be written down")
        peer.after(peer.now().arrived + 2 * rate)
        seeder.kill()
        arrived = peer.now().arrived
    kept = limits(published.home)
    assert arrived - 6.5 * rate <= kept["given_today"] <= arrived + rate
    assert kept["given_today"] == kept["releases"][0]["given"]
    assert kept["releases"][0]["release"] == "acme/m7b@1"


def test_a_release_rests_at_its_ratio_and_a_restart_remembers(published: Published, tmp_path: Path) -> None:
    share, rate = 0.125, 4 * MIB
    words = ("--ratio", str(share), "--max-up", str(rate))
    with seeding(published.home, *words) as seeder, leech(tmp_path, published, seeder) as peer:
        until_said(seeder, resting=["acme/m7b@1"])
        arrived = peer.now().arrived
        assert share * SIZE - rate <= arrived <= share * SIZE + rate
        until(lambda: peer.now().peers == 0, "the peer to be let go")
        until(lambda: "acme/m7b@1 rests at ratio 0.125" in seeder.err(), "the reason")
        seeder.stop()
    assert "rests" not in ok(published.home, "limits")  # the flag was the seeder's alone
    assert limits(published.home)["releases"][0]["ratio"] == pytest.approx(share, rel=0.4)

    with seeding(published.home, *words) as seeder, leech(tmp_path / "2", published, seeder) as peer:
        until_said(seeder, resting=["acme/m7b@1"])
        assert peer.now().arrived <= 64 * KIB  # it may have asked before the first look
        limits(published.home, "--ratio", "9")
        peer.after(2 * rate, within=15)
        assert said(seeder)[-1]["resting"] == []


def test_what_a_fetch_gives_counts_too(published: Published, tmp_path: Path) -> None:
    user = tmp_path / "user"
    user.mkdir()
    with seeding(published.home) as seeder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        words = ("fetch", published.magnet, "out", *published.trust, "--peer", seeder.peer, "--json")
        with Running(user, *words, "--port", str(port), "--max-down", "16M") as running:
            torrent = str(published.facts["torrent"])
            with Leech(tmp_path / "leech", torrent, f"127.0.0.1:{port}") as peer:
                running.result()
                arrived = peer.now().arrived
    assert arrived > 0
    assert limits(user)["given_today"] == pytest.approx(arrived, rel=0.2, abs=MIB)
