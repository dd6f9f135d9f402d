"""Pieces come in the order of a loader, and a range that is reported can be read at that moment."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.builders_checkpoints import place
from tests.cli.helpers import environment
from tests.integration.releases import Published, assert_whole, fetch, publish
from tests.integration.running import Seeder, seeding
from weightshare.units import KIB, MIB

LAYERS = 16
TENSOR = MIB
CAP = 2 * MIB
AT_ONCE = 20.0
"""Seconds, on a busy machine; at the rate of the second run a tensor would take three times as long."""


@dataclass(frozen=True)
class Report:
    """A line of the reader."""

    path: str
    begin: int
    end: int
    tensor: str
    proven: bool
    same: bool
    seconds: float


def shard(tensors: Sequence[str], seed: int) -> bytes:
    header = {
        name: {"dtype": "U8", "shape": [TENSOR], "data_offsets": [at * TENSOR, (at + 1) * TENSOR]}
        for at, name in enumerate(tensors)
    }
    text = json.dumps(header).encode()
    text = text.ljust(-(-len(text) // 8) * 8)
    data = random.Random(seed).randbytes(TENSOR * len(tensors))
    return len(text).to_bytes(8, "little") + text + data


def checkpoint() -> dict[str, bytes]:
    """Two shards in an order that is not that of the model: the first layer's input lies at the end of the second."""
    names = [f"model.layers.{number}.mlp.weight" for number in range(LAYERS)]
    first = ["lm_head.weight", *names[::2]]
    second = ["model.norm.weight", *names[1::2], "model.embed_tokens.weight"]
    shards = {"model-1.safetensors": first, "model-2.safetensors": second}
    index = {"weight_map": {name: path for path, tensors in shards.items() for name in tensors}}
    return {
        **{path: shard(tensors, len(tensors)) for path, tensors in shards.items()},
        "model.safetensors.index.json": json.dumps(index).encode(),
        "config.json": b'{"architectures": ["Nothing"]}',
        "tokenizer.json": random.Random(1).randbytes(100 * KIB),
    }


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    home = tmp_path_factory.mktemp("maintainer")
    return publish(home, place(home / "model", checkpoint()), "--piece-length", "64K")


def reading(
    published: Published, user: Path, seeder: Seeder, *, hasty: bool = False, source: str = "", **how: object
) -> subprocess.Popen[str]:
    """The reader, started."""
    user.mkdir(exist_ok=True)
    words = {
        "source": source or published.magnet,
        "directory": str(user / "out"),
        "home": str(user / "weightshare"),
        "trust": published.trust[1:],
        "peers": [["127.0.0.1", seeder.port]],
        **how,
    }
    command = [sys.executable, "-m", "tests.integration.range_reader"]
    return subprocess.Popen(
        [*command, str(published.folder), str(int(hasty)), json.dumps(words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(user),
    )


def reports_of(process: subprocess.Popen[str]) -> list[Report]:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return [Report(*json.loads(line)) for line in out.splitlines()]


def ranges_of(reports: Sequence[Report]) -> list[tuple[str, int, int]]:
    """What was reported, in order."""
    return [(report.path, report.begin, report.end) for report in reports]


def assert_each_once(reports: Sequence[Report], published: Published) -> None:
    """Every range was reported once as readable and then once as proven, and together they are all bytes."""
    readable = ranges_of([report for report in reports if not report.proven])
    proven = ranges_of([report for report in reports if report.proven])
    assert len(set(readable)) == len(readable)
    assert sorted(readable) == sorted(proven)
    assert sum(end - begin for _, begin, end in readable) == published.size
    for each in proven:
        assert [report.proven for report in reports if ranges_of([report]) == [each]] == [False, True]


def in_order(reports: Sequence[Report]) -> bool:
    """Whether the first layers were all readable before any of the last ones."""
    found = [report.tensor for report in reports if report.tensor and not report.proven]
    places = {name: place for place, name in enumerate(found)}
    first = ["model.embed_tokens.weight", *(f"model.layers.{number}.mlp.weight" for number in range(3))]
    last = ["model.norm.weight", *(f"model.layers.{number}.mlp.weight" for number in range(12, LAYERS))]
    return max(places[name] for name in first) < min(places[name] for name in last)


def test_in_model_order_the_first_layers_are_there_before_the_last(
    published: Published, tmp_path: Path
) -> None:
    with seeding(published.home) as seeder:
        reports = reports_of(reading(published, tmp_path / "u", seeder, order="model", max_down=CAP))
    assert all(report.same for report in reports)
    assert_each_once(reports, published)
    assert in_order(reports)
    headers = {report.path: report.seconds for report in reports if not report.tensor and not report.proven}
    assert max(headers.values()) < reports[-1].seconds / 2
    assert_whole(tmp_path / "u" / "out", published)


def test_rarest_first_has_no_such_order(published: Published, tmp_path: Path) -> None:
    """Or the test above would show nothing. Ranges are reported all the same."""
    with seeding(published.home) as seeder:
        reports = reports_of(reading(published, tmp_path / "u", seeder, order="rarest", max_down=2 * CAP))
    assert all(report.same for report in reports)
    assert_each_once(reports, published)
    assert not in_order(reports)


def test_at_full_speed_every_range_that_is_reported_can_be_read(published: Published, tmp_path: Path) -> None:
    with seeding(published.home) as seeder:
        reports = reports_of(reading(published, tmp_path / "u", seeder, order="model"))
    assert all(report.same for report in reports)
    assert_each_once(reports, published)


def test_a_finished_piece_cannot_be_read_yet(published: Published, tmp_path: Path) -> None:
    """The engine's word for a piece comes before its bytes are on the disk: the reason to wait for a flush.

    How long before depends on what else the disk does, so that one of a few fetches shows it.
    """
    early = False
    with seeding(published.home) as seeder:
        for attempt in range(5):
            user = tmp_path / str(attempt)
            reports = reports_of(reading(published, user, seeder, order="model", hasty=True))
            assert all(report.same for report in reports if report.proven)
            early = early or not all(report.same for report in reports if not report.proven)
            if early:
                break
    assert early


@pytest.mark.parametrize("fact", ["torrent", "magnet"])
def test_ranges_are_proven_before_their_files_are_whole(
    published: Published, tmp_path: Path, fact: str
) -> None:
    """With the piece hashes from a `.torrent`, and with those that peers give."""
    with seeding(published.home) as seeder:
        source = str(published.facts[fact])
        reports = reports_of(
            reading(published, tmp_path / "u", seeder, order="model", max_down=2 * CAP, source=source)
        )
    assert_each_once(reports, published)
    proven = next(place for place, report in enumerate(reports) if report.tensor and report.proven)
    missing = [report for report in reports[proven:] if report.tensor and not report.proven]
    assert reports[proven].path in {report.path for report in missing}


def test_what_is_here_already_is_reported_at_once(published: Published, tmp_path: Path) -> None:
    """An interrupted fetch goes on so slowly that nothing new can be there for a long time."""
    user = tmp_path / "u"
    with seeding(published.home) as seeder:
        first = reading(published, user, seeder, order="model", max_down=2 * CAP)
        assert first.stdout is not None
        before: list[Report] = []
        while sum(report.tensor != "" for report in before) < 4:
            before.append(Report(*json.loads(first.stdout.readline())))
        first.send_signal(signal.SIGINT)
        first.communicate(timeout=30)
        second = reading(published, user, seeder, order="model", max_down=16 * KIB)
        assert second.stdout is not None
        try:
            found: list[Report] = []
            while not set(ranges_of(before)) <= set(ranges_of(found)):
                found.append(Report(*json.loads(second.stdout.readline())))
            assert found[-1].seconds < AT_ONCE
            assert all(report.same for report in found)
        finally:
            second.kill()
            second.communicate(timeout=30)


def test_a_release_that_is_here_is_reported_whole(published: Published, tmp_path: Path) -> None:
    user = tmp_path / "u"
    with seeding(published.home) as seeder:
        fetch(user, published, "out", "--peer", seeder.peer, "--order", "model")
        reports = reports_of(reading(published, user, seeder))
    assert all(report.same for report in reports)
    assert_each_once(reports, published)
