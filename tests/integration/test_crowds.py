"""A crowd on a network of its own finds itself by the link alone, and ends together."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from bench.crowd import Fetch, begin, follow, liars, seeder
from tests.builders_checkpoints import contents, place, shard
from tests.cli.helpers import result
from tests.integration.releases import publish
from tests.namespaces import Lan, missing
from weightshare.manifest.model import MANIFEST_NAME
from weightshare.units import MIB

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())

PEERS = 3


def test_a_crowd_with_a_liar_in_it(tmp_path: Path) -> None:
    folder = place(tmp_path / "model", {"model.safetensors": shard(12 * MIB)})
    published = publish(tmp_path / "maintainer", folder)
    lies = tmp_path / "lies" / "m7b"  # as the torrent names its folder
    lies.mkdir(parents=True)
    truth = (folder / "model.safetensors").read_bytes()
    (lies / "model.safetensors").write_bytes(bytes(255 - value for value in truth))
    (lies / MANIFEST_NAME).write_bytes(Path(published.facts["manifest"]).read_bytes())
    with ExitStack() as stack:
        lan = stack.enter_context(Lan(2 + PEERS, rate="40mbit"))
        stop = stack.enter_context(seeder(lan.nodes[0], published.home / "weightshare"))
        torrent = Path(published.facts["torrent"])
        unmasked = stack.enter_context(liars(lan.nodes[-1:], torrent, lies.parent))
        fetches = []
        for number, node in enumerate(lan.nodes[1 : 1 + PEERS]):
            home = tmp_path / f"user-{number}"
            home.mkdir()
            result(home, "trust", "add", "acme", published.facts["publisher"])
            fetch = Fetch(node, home / "weightshare", tmp_path / f"got-{number}")
            stack.callback(fetch.reap)
            stack.callback(fetch.kill)
            fetches.append(fetch)
        begin(fetches, published.magnet)
        follow(fetches, 60, lambda: None)
        given = stop()
        (liar,) = unmasked()
        assert 0 < liar["uploaded"] < published.size / 4, "a liar is heard, and banned"
        for fetch in fetches:
            assert contents(fetch.target) == contents(folder)
        assert given < PEERS * published.size, "they had it from each other too"
