"""A public link whose URLs lead inside: to this machine, its network, or a cloud's metadata service.

A server in the namespace has all of those addresses and writes down who asks what (server-side request forgery).
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders_checkpoints import place, tiny
from tests.cli.helpers import environment
from tests.integration.canary import REDIRECTOR
from tests.integration.releases import assert_whole, publish
from tests.integration.running import Running
from tests.integration.waiting import until
from tests.namespaces import Lan, Node, missing
from weightshare.manifest.magnet import Magnet, parse

_WHY = missing()
pytestmark = pytest.mark.skipif(bool(_WHY), reason=_WHY or "all is here")

INSIDE = ("127.0.0.1", "169.254.169.254", "10.1.2.3", "192.168.1.1", "172.16.0.1")
NAMED = "rebound.example.org"  # resolves to 127.0.0.1


@pytest.fixture
def node() -> Iterator[Node]:
    with Lan(
        1, default_route=True, resolver="127.0.0.1", hosts={NAMED: "127.0.0.1", "localhost": "127.0.0.1"}
    ) as lan:
        for address in (*INSIDE[1:], REDIRECTOR):
            words = ["ip", "addr", "add", f"{address}/32", "dev", "lo"]
            subprocess.run(lan.nodes[0].command(words), check=True)
        yield lan.nodes[0]


@pytest.fixture
def heard(node: Node, tmp_path: Path) -> Iterator[Path]:
    """The canary's log."""
    log = tmp_path / "canary.log"
    words = [sys.executable, "-m", "tests.integration.canary", "80", str(log)]
    process = subprocess.Popen(node.command(words), env=environment(tmp_path), start_new_session=True)
    try:
        until(log.exists, "the canary to listen")
        yield log
    finally:
        process.kill()
        process.wait(10)


def test_nothing_inside_is_asked(node: Node, heard: Path, tmp_path: Path) -> None:
    published = publish(tmp_path / "maker", place(tmp_path / "model", tiny()))
    hosts = (*INSIDE, "localhost", NAMED, "[::ffff:127.0.0.1]", "0.0.0.0")
    magnet = Magnet(
        v2_hash=parse(published.magnet).v2_hash,
        trackers=(
            *(f"http://{host}/tracker/reboot" for host in hosts),
            *(f"http://{host}/announce" for host in INSIDE),
            f"http://{REDIRECTOR}/announce",
        ),
        # By a name the engine would ask for a file, though never with a query.
        web_seeds=(
            *(f"http://{host}/seed/" for host in hosts if host != NAMED),
            f"http://{REDIRECTOR}/seed/",
        ),
        sources=(*(f"http://{host}/source" for host in hosts), f"http://{REDIRECTOR}/source"),
    )
    user = tmp_path / "user"
    user.mkdir()
    before, more = tuple(node.command([])), {"WEIGHTSHARE_NETWORK": "public"}
    # Slow enough for every web seed to be tried.
    slow = ("--max-up", "50K", "--port", "7000", "--json")
    with Running(published.home, "seed", *slow, before=before, more=more) as seeder:
        seeder.event()
        words = ("fetch", str(magnet), "out", *published.trust, "--peer", "127.0.0.1:7000", "--json")
        with Running(user, *words, before=before, more=more) as fetch:
            fetch.result(within=50)
    assert_whole(user / "out", published)
    asked = set(heard.read_text().splitlines())
    assert {f"{REDIRECTOR} /announce", f"{REDIRECTOR} /source"} <= asked, "the canary hears nobody"
    assert any(line.startswith(f"{REDIRECTOR} /seed/") for line in asked), "no web seed was asked"
    inside = {line for line in asked if not line.startswith(REDIRECTOR)}
    assert inside <= {f"{host} /announce" for host in INSIDE}


def test_a_users_own_word_may_lead_inside(node: Node, heard: Path, tmp_path: Path) -> None:
    """What is typed is no stranger's; where it redirects to is."""
    user = tmp_path / "user"
    user.mkdir()
    before, more = tuple(node.command([])), {"WEIGHTSHARE_NETWORK": "public"}
    for url in ("http://192.168.1.1/m.torrent", f"http://{REDIRECTOR}/m.torrent"):
        with Running(user, "fetch", url, "--json", before=before, more=more) as fetch:
            fetch.result(5)
    assert heard.read_text().splitlines() == ["192.168.1.1 /m.torrent", f"{REDIRECTOR} /m.torrent"]
