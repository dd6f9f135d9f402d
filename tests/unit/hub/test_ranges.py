"""Ranges from the stand-in for the Hub: every habit ends in the same bytes or in a clear error, and none in a hang."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from tests.hub_server import Habit, HubServer, serve
from tests.integration.waiting import until
from weightshare.api.reach import Reach
from weightshare.errors import SourceAccessError, SourceError, SourceStoppedError
from weightshare.hub.backoff import Patience, Waiting
from weightshare.hub.ranges import RangeSource
from weightshare.hub.settings import HubSettings
from weightshare.hub.sources import hub_source
from weightshare.swarm.networks import Network

LARGE, SMALL = "model.safetensors", "sub/to ken.json"
BRISK = Patience(connect=5, stall=5, least=1024, attempts=3, progress=10, wait=1.2, first=0.005)
HASTY = replace(BRISK, stall=0.2, progress=3)
STALLS = ("slow", "silent", "mute")
pytestmark = pytest.mark.timeout(30)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("model")
    (made / "sub").mkdir()
    (made / LARGE).write_bytes(os.urandom(1_600_000))
    (made / SMALL).write_bytes(os.urandom(5_000))
    return made


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[HubServer]:
    with serve(folder, "org/model") as server:
        yield server


@pytest.fixture
def hub(server: HubServer) -> HubServer:
    server.habits, server.asked = [], []
    return server


def local() -> Reach:
    return Reach(Network.LOCAL, inside=True)


def source(
    hub: HubServer,
    *,
    token: str | None = None,
    patience: Patience = BRISK,
    throttle: Callable[[int], float] | None = None,
    waiting: Callable[[Waiting], None] | None = None,
) -> RangeSource:
    settings = HubSettings(endpoint=hub.url, cache=Path("none"), token=token)
    return hub_source(
        settings,
        "org/model",
        hub.commit,
        reach=local,
        patience=patience,
        throttle=throttle,
        waiting=waiting,
    )


def read(
    source: RangeSource, path: str, offset: int, length: int, stop: threading.Event | None = None
) -> bytes:
    got = bytearray()
    source.read(path, offset, length, take=got.extend, stop=stop or threading.Event())
    return bytes(got)


def expected(hub: HubServer, path: str, offset: int, length: int) -> bytes:
    return hub.blobs[path].file.read_bytes()[offset : offset + length]


RANGES = [(LARGE, 100_000, 1_400_000), (LARGE, 0, 1_600_000), (LARGE, 1_599_999, 1), (SMALL, 100, 4_000)]


@pytest.mark.parametrize(("path", "offset", "length"), RANGES)
def test_a_range_is_read(hub: HubServer, path: str, offset: int, length: int) -> None:
    with source(hub) as ours:
        assert read(ours, path, offset, length) == expected(hub, path, offset, length)


def test_the_redirect_is_asked_for_once_and_connections_are_kept(hub: HubServer) -> None:
    with source(hub) as ours, ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(lambda n: read(ours, LARGE, n * 50_000, 50_000), range(30)))
    assert b"".join(parts) == expected(hub, LARGE, 0, 1_500_000)
    assert hub.count("hub") == 1
    assert hub.count("store") == 30


def test_the_token_goes_to_the_hub_alone(folder: Path) -> None:
    with (
        serve(folder, "org/model", token="hf_secret", cached=True) as hub,
        source(hub, token="hf_secret") as ours,
    ):
        assert read(ours, LARGE, 5, 5) == expected(hub, LARGE, 5, 5)
        assert read(ours, SMALL, 5, 5) == expected(hub, SMALL, 5, 5)
        assert {asked.authorization for asked in hub.asked if asked.at == "store"} == {None}
        with source(hub) as nobody, pytest.raises(SourceAccessError, match="wants a token") as caught:
            read(nobody, LARGE, 5, 5)
        assert caught.value.fatal
        assert "HF_TOKEN" in caught.value.hint


def test_expired_urls_are_asked_for_again(folder: Path) -> None:
    with serve(folder, "org/model", expires=0.3) as hub, source(hub) as ours:
        began, asked = time.monotonic(), 0
        while time.monotonic() - began < 0.7:
            assert read(ours, LARGE, 1000, 500) == expected(hub, LARGE, 1000, 500)
            asked += 1
        assert 2 <= hub.count("hub") <= 5
        assert hub.count("hub") < asked / 2


def test_a_url_that_expires_before_its_time_is_asked_for_again(hub: HubServer) -> None:
    with source(hub) as ours:
        read(ours, LARGE, 0, 10)
        hub.habits.append(Habit("403", times=1, at="store"))
        assert read(ours, LARGE, 10, 10) == expected(hub, LARGE, 10, 10)
        assert hub.count("hub") == 2


ONCE = [
    Habit("429", at="store"),
    Habit("503", value="0", at="hub"),
    Habit("503", value="date", at="store"),
    Habit("500", at="store"),
    Habit("wrong-content-range"),
    Habit("no-content-range"),
    Habit("wrong-offset"),
    Habit("whole"),
    Habit("truncated"),
    Habit("changed-etag"),
    Habit("gzip"),
    Habit("slow", value="0.1"),
    Habit("silent", value="1"),
    Habit("mute", value="1"),
    Habit("reset"),
]


@pytest.mark.parametrize("habit", ONCE, ids=lambda habit: f"{habit.name}-{habit.at}")
def test_what_goes_wrong_once_ends_in_the_same_bytes(hub: HubServer, habit: Habit) -> None:
    with source(hub, patience=HASTY if habit.name in STALLS else BRISK) as ours:
        for path in (LARGE, SMALL) if habit.at == "bytes" else (LARGE,):
            hub.habits = [Habit(habit.name, times=1, value=habit.value, at=habit.at)]
            size = hub.blobs[path].size - 7
            assert read(ours, path, 7, size) == expected(hub, path, 7, size)
            assert hub.habits[0].times == 0


ALWAYS = [
    (Habit("429", value="0", at="hub"), "429", False),
    (Habit("503", at="store"), "503", False),
    (Habit("401", at="hub"), "does not let us in", True),
    (Habit("403", at="hub"), "does not let us in", True),
    (Habit("gated", at="hub"), "gated", True),
    (Habit("404", at="hub"), "does not have this file", True),
    (Habit("403", at="store"), "403", False),
    (Habit("wrong-content-range"), "were asked and bytes", True),
    (Habit("no-content-range"), "does not say which bytes", True),
    (Habit("wrong-offset"), "were asked and bytes", True),
    (Habit("whole"), "whole files", True),
    (Habit("gzip"), "gzip", True),
    (Habit("silent", value="1"), "too little came", False),
    (Habit("slow", value="0.05"), "too little came", False),
    (Habit("mute", value="1"), "too little came", False),
    (Habit("loop", at="hub"), "circle", True),
    (Habit("loop", at="store"), "circle", True),
]


@pytest.mark.parametrize(("habit", "words", "fatal"), ALWAYS, ids=[f"{h.name}-{h.at}" for h, *_ in ALWAYS])
def test_what_goes_wrong_always_ends_in_an_error(
    hub: HubServer, habit: Habit, words: str, fatal: bool
) -> None:
    hub.habits.append(Habit(habit.name, value=habit.value, at=habit.at))
    patience, began = HASTY if habit.name in STALLS else BRISK, time.monotonic()
    with source(hub, patience=patience) as ours, pytest.raises(SourceError, match=words) as caught:
        read(ours, LARGE, 1_100_000, 400_000)
    assert time.monotonic() - began < patience.progress + patience.stall
    assert caught.value.fatal is fatal
    assert (caught.value.retry_at is None) is fatal
    assert caught.value.hint
    assert "Signature" not in caught.value.message


@pytest.mark.parametrize("name", ["truncated", "reset"])
def test_bodies_that_always_break_off_half_way_still_end_in_the_bytes(hub: HubServer, name: str) -> None:
    hub.habits.append(Habit(name))
    with source(hub) as ours:
        assert read(ours, LARGE, 0, 300_000) == expected(hub, LARGE, 0, 300_000)


def test_a_source_that_asks_for_a_long_wait_is_left_for_so_long_by_all(hub: HubServer) -> None:
    hub.habits.append(Habit("429", times=1, value="60", at="store"))
    with source(hub) as ours:
        for path in (LARGE, SMALL):
            with pytest.raises(SourceError, match="asks to wait 6") as caught:
                read(ours, path, 0, 10)
            assert not caught.value.fatal
            assert caught.value.retry_at is not None
            assert 55 < caught.value.retry_at - time.monotonic() < 62
        assert len(hub.asked) == 2


def test_a_wait_is_one_for_all_threads(hub: HubServer) -> None:
    """Whoever waited for another to find the file does not ask at once either."""
    hub.habits.append(Habit("429", times=1, value="1", at="hub"))
    began = time.monotonic()

    def one(number: int) -> tuple[bytes, float]:
        return read(ours, LARGE, number * 1000, 1000), time.monotonic() - began

    with source(hub) as ours, ThreadPoolExecutor(6) as pool:
        parts = list(pool.map(one, range(6)))
    assert b"".join(part for part, _ in parts) == expected(hub, LARGE, 0, 6000)
    assert min(seconds for _, seconds in parts) >= 1
    assert hub.count("hub") == 2


def test_waits_are_told(hub: HubServer) -> None:
    hub.habits.append(Habit("500", times=2, at="hub"))
    told: list[Waiting] = []
    with source(hub, waiting=told.append) as ours:
        read(ours, LARGE, 0, 10)
    assert [(wait.source, wait.reason) for wait in told] == [("hub", "the answer was 500, said 500")] * 2
    assert all(0 < wait.seconds < 0.1 for wait in told)


@pytest.mark.parametrize("habit", ["silent", "mute", "503"])
def test_a_stop_ends_it_at_once(hub: HubServer, habit: str) -> None:
    hub.habits.append(Habit(habit, value="5"))
    stop = threading.Event()
    patient = Patience(stall=20)
    with source(hub, patience=patient) as ours, ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read, ours, LARGE, 0, 1000, stop)
        until(lambda: hub.count("store") == 1, "the request", within=5)
        began = time.monotonic()
        stop.set()
        with pytest.raises(SourceStoppedError):
            reading.result(5)
    assert time.monotonic() - began < 1


def test_a_limit_on_speed_is_kept_and_is_not_the_sources_fault(hub: HubServer) -> None:
    pauses: list[int] = []

    def throttle(count: int) -> float:
        pauses.append(count)
        return 0.25  # longer than a stall

    with source(hub, throttle=throttle, patience=HASTY) as ours:
        assert read(ours, LARGE, 0, 100_000) == expected(hub, LARGE, 0, 100_000)
    assert sum(pauses) == 100_000
    assert hub.count("store") == 1


def test_an_error_of_whoever_takes_the_bytes_is_theirs(hub: HubServer) -> None:
    def take(_view: memoryview) -> None:
        raise OSError("disk full")

    with source(hub) as ours:
        with pytest.raises(OSError, match="disk full"):
            ours.read(LARGE, 0, 10, take=take, stop=threading.Event())
        assert hub.count("store") == 1
        assert read(ours, LARGE, 0, 10) == expected(hub, LARGE, 0, 10)


def test_a_missing_file_says_so_and_others_are_still_given(hub: HubServer) -> None:
    with source(hub) as ours:
        with pytest.raises(SourceError, match="does not have this file") as caught:
            read(ours, "weightshare.json", 0, 10)
        assert caught.value.lacks
        with pytest.raises(SourceError, match="the file there") as caught:
            read(ours, SMALL, 4_000, 2_000)
        assert caught.value.lacks
        assert read(ours, SMALL, 4_000, 1_000) == expected(hub, SMALL, 4_000, 1_000)


def test_a_server_that_is_gone_is_an_error_with_a_time(folder: Path) -> None:
    with serve(folder, "org/model") as hub, source(hub) as ours:
        read(ours, SMALL, 0, 10)
    with pytest.raises(SourceError, match="refused") as caught:
        read(ours, SMALL, 0, 10)
    assert not caught.value.fatal
    assert caught.value.retry_at is not None


def test_offline_no_source_is_made() -> None:
    settings = HubSettings(endpoint="http://127.0.0.1:1", cache=Path("none"), offline=True)
    with pytest.raises(SourceError, match="HF_HUB_OFFLINE"):
        hub_source(settings, "org/model", "main", reach=local)
