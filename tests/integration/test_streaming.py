"""A release is loaded while it is fetched: in real sessions, against a seeder in another process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.cli.helpers import environment
from tests.integration.releases import Published, assert_whole, fetch, publish
from tests.integration.running import Running, Seeder, seeding
from weightshare.units import KIB, MIB

CAP = 3 * MIB
Event = dict[str, Any]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    """Two shards of 4 MiB and an index, in pieces of 64 KiB."""
    home = tmp_path_factory.mktemp("maintainer")
    folder = home / "model"
    folder.mkdir()
    generator = torch.Generator().manual_seed(7)
    index: dict[str, str] = {}
    for shard in (1, 2):
        path = f"model-{shard:05}-of-00002.safetensors"
        tensors = {
            f"model.layers.{layer}.weight": torch.rand(1024, 512, generator=generator).to(torch.bfloat16)
            for layer in range(shard, 9, 2)
        }
        save_file(tensors, folder / path)
        index |= dict.fromkeys(tensors, path)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    (folder / "config.json").write_text('{"architectures": ["NoSuchModel"], "model_type": "none"}')
    (folder / "tokenizer.json").write_text("{}")
    return publish(home, folder, "--piece-length", "64K")


@contextmanager
def streaming(
    published: Published, user: Path, seeder: Seeder, **how: object
) -> Iterator[subprocess.Popen[str]]:
    """The reader, started."""
    user.mkdir(exist_ok=True)
    words = {
        "source": published.magnet,
        "directory": str(user / "out"),
        "home": str(user / "weightshare"),
        "trust": published.trust[1:],
        "peers": [["127.0.0.1", seeder.port]],
        **how,
    }
    command = [sys.executable, "-m", "tests.integration.stream_reader", str(published.folder)]
    with subprocess.Popen(
        [*command, json.dumps(words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(user),
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def events_of(process: subprocess.Popen[str]) -> list[Event]:
    out, err = process.communicate(timeout=90)
    assert process.returncode == 0, err
    return [json.loads(line) for line in out.splitlines()]


def places(events: Sequence[Event], **facts: object) -> list[int]:
    """Where in the row of events those with these facts are."""
    return [at for at, event in enumerate(events) if facts.items() <= event.items()]


def test_weights_are_loaded_while_others_are_on_their_way(published: Published, tmp_path: Path) -> None:
    with seeding(published.home) as seeder, streaming(published, tmp_path / "u", seeder, max_down=CAP) as it:
        events = events_of(it)
    assert events[-1]["same"]
    assert events[-1]["complete"]
    last = places(events, event="readable")[-1]
    before = [event["bytes"] for event in events[:last] if event["event"] == "loaded"]
    assert max(before) > 4 * MIB
    assert_whole(tmp_path / "u" / "out", published)


def test_at_full_speed_the_tensors_are_the_same(published: Published, tmp_path: Path) -> None:
    with seeding(published.home) as seeder, streaming(published, tmp_path / "u", seeder) as it:
        events = events_of(it)
    assert events[-1] == {"event": "done", "same": True, "complete": True, "swarm": published.size}


@pytest.mark.parametrize("at", [100, 3 * MIB])
def test_a_staged_file_that_is_overwritten_is_refused_or_healed(
    published: Published, tmp_path: Path, at: int
) -> None:
    """Before its piece is read: whether the fetch sees it too depends on who reads first."""
    path = "model-00002-of-00002.safetensors"
    with (
        seeding(published.home) as seeder,
        streaming(published, tmp_path / "u", seeder, max_down=2 * CAP, damage=[path, at]) as it,
    ):
        end = events_of(it)[-1]
    if end["event"] == "failed":
        assert (end["exit"], end["path"], end["pieces"]) == (4, path, [at // (64 * KIB)])
    else:
        assert end["same"]


def test_what_an_interrupted_fetch_had_is_loaded_at_once(published: Published, tmp_path: Path) -> None:
    """The second goes on so slowly that nothing new can be there for a long time."""
    user = tmp_path / "u"
    with seeding(published.home) as seeder:
        with streaming(published, user, seeder, max_down=CAP) as first:
            assert first.stdout is not None
            had = 0
            while had < 2 * MIB:
                event = json.loads(first.stdout.readline())
                had = event.get("bytes", had)
            first.send_signal(signal.SIGINT)
            first.communicate(timeout=40)
        with streaming(published, user, seeder, max_down=16 * KIB) as second:
            assert second.stdout is not None
            loaded = 0
            while loaded < had:
                event = json.loads(second.stdout.readline())
                loaded = event.get("bytes", loaded)
            second.kill()
        with streaming(published, user, seeder) as third:
            end = events_of(third)[-1]
    assert end["same"]
    assert end["swarm"] < published.size - had + MIB
    assert_whole(user / "out", published)


def test_a_seeder_that_dies_leaves_something_to_resume(published: Published, tmp_path: Path) -> None:
    user = tmp_path / "u"
    with seeding(published.home) as seeder, streaming(published, user, seeder, max_down=CAP, timeout=4) as it:
        assert it.stdout is not None
        while json.loads(it.stdout.readline()).get("bytes", 0) < MIB:
            pass
        seeder.kill()
        end = events_of(it)[-1]
    assert (end["event"], end["exit"]) == ("failed", 5)
    with seeding(published.home) as seeder, streaming(published, user, seeder) as it:
        end = events_of(it)[-1]
    assert end["same"]
    assert end["swarm"] < published.size - MIB // 2


def test_a_release_that_is_here_is_loaded_from_where_it_is(published: Published, tmp_path: Path) -> None:
    user = tmp_path / "u"
    with seeding(published.home) as seeder:
        fetch(user, published, "out", "--peer", seeder.peer)
        with streaming(published, user, seeder) as it:
            events = events_of(it)
    assert not places(events, event="readable")
    assert events[-1]["same"]


def test_an_architecture_nobody_has_is_refused_before_the_weights_are_here(
    published: Published, tmp_path: Path
) -> None:
    user = tmp_path / "u"
    user.mkdir()
    words = ("fetch", published.magnet, *published.trust, "--run", "--prompt", "w3", "--max-down", "512K")
    with seeding(published.home) as seeder, Running(user, *words, "--peer", seeder.peer, "--json") as run:
        error = run.result(7, within=100)
    assert "NoSuchModel" in error["message"]
    with seeding(published.home) as seeder:  # what arrived stays
        assert fetch(user, published, "--peer", seeder.peer)["received"]["swarm"] < published.size
