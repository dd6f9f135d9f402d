"""What was given is counted once, by all together, and outlives whoever counted."""

from __future__ import annotations

import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import pytest

from weightshare.content.home import Home
from weightshare.content.ledger import Ledger
from weightshare.content.locks import exclusive
from weightshare.errors import StoreError

DAY = date(2026, 11, 25)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_it_outlives_its_process(home: Home) -> None:
    first = Ledger(home)
    first.add(DAY, "aa", 5)
    first.add(DAY, "bb", 2)
    first.add(DAY - timedelta(1), "aa", 1)
    assert first.unwritten
    assert first.save()
    assert not first.unwritten
    later = Ledger(home)
    assert (later.on(DAY), later.on(DAY - timedelta(1)), later.on(DAY + timedelta(1))) == (7, 1, 0)
    assert (later.of("aa"), later.of("bb"), later.of("cc")) == (6, 2, 0)
    assert later.releases() == {"aa": 6, "bb": 2}


def test_what_is_not_written_counts_already(home: Home) -> None:
    ledger = Ledger(home)
    ledger.add(DAY, "aa", 5)
    assert (ledger.on(DAY), ledger.of("aa")) == (5, 5)


def test_two_add_to_one_sum(home: Home) -> None:
    one, two = Ledger(home), Ledger(home)
    for step in range(10):
        one.add(DAY, "aa", 1)
        two.add(DAY, "aa", 10)
        if step % 2:
            one.save()
        two.save()
    one.refresh()
    two.refresh()
    assert one.on(DAY) == two.on(DAY) == Ledger(home).of("aa") == 110


WRITER = """
import sys, time
from datetime import date
from pathlib import Path
from weightshare.content.ledger import Ledger
from weightshare.content.home import Home
ledger = Ledger(Home(Path(sys.argv[1])))
for _ in range(50):
    ledger.add(date(2026, 11, 25), "aa", 1)
    while not ledger.save():
        time.sleep(0.001)
"""


def test_processes_at_once_lose_nothing(home: Home) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(home.path)]) for _ in range(3)]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    assert Ledger(home).of("aa") == 150


def test_while_another_writes_nothing_is_lost(home: Home) -> None:
    ledger = Ledger(home)
    ledger.add(DAY, "aa", 5)
    with exclusive(home.path / "given.lock", "a test"):
        assert not ledger.save()
    assert ledger.of("aa") == 5
    assert ledger.save()
    assert Ledger(home).of("aa") == 5


def test_a_clock_that_was_ahead_for_a_while_costs_no_day(home: Home) -> None:
    ledger = Ledger(home)
    ledger.add(date(2036, 1, 1), "aa", 9)
    for day in range(60):
        ledger.add(DAY + timedelta(day), "aa", 1)
        ledger.save()
    assert Ledger(home).on(DAY + timedelta(59)) == 1
    assert Ledger(home).on(DAY + timedelta(50)) == 1
    assert Ledger(home).on(DAY) == 0  # old days are let go
    assert Ledger(home).of("aa") == 69


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"version": 2, "days": {}, "releases": {}}',
        '{"version":1,"days":{"x":-1},"releases":{}}',
    ],
)
def test_a_damaged_record_is_said_and_kept(home: Home, text: str) -> None:
    path = home.path / "given.json"
    path.write_text(text)
    with pytest.raises(StoreError, match=r"given\.json") as caught:
        Ledger(home)
    assert "Delete it" in caught.value.hint
    assert path.read_text() == text


def test_a_disk_that_refuses_loses_no_count(home: Home) -> None:
    ledger = Ledger(home)
    ledger.add(DAY, "aa", 5)
    blocked = home.path / "given.json"
    blocked.mkdir()
    with pytest.raises(StoreError):
        ledger.save()
    assert ledger.on(DAY) == 5
    blocked.rmdir()
    assert ledger.save()
    assert Ledger(home).on(DAY) == 5
