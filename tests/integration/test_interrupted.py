"""A fetch that is killed, stopped, or left alone by its peers goes on from where it was, and never lies meanwhile."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.builders_checkpoints import place, shard
from tests.integration.releases import Published, assert_whole, publish
from tests.integration.running import Running, Seeder, seeding
from tests.integration.staged import Disk
from tests.integration.waiting import until
from tests.integration.wire import connections, underway
from weightshare.content.store import STAGING
from weightshare.units import KIB, MIB

KILLS = int(os.environ.get("WEIGHTSHARE_KILLS", "8"))
RANDOM_SEED = int(os.environ.get("WEIGHTSHARE_KILL_SEED", str(random.SystemRandom().randrange(1 << 32))))

PIECE = 256 * KIB
RATE = 16 * MIB
FILES = {
    **{f"model-{number:05}-of-00004.safetensors": shard(12 * MIB + number, number) for number in range(1, 5)},
    "config.json": b'{"architectures": ["Nothing"]}',
    "empty": b"",
    "a folder/notes on this.md": b"# notes\n" * 5000,
}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    home = tmp_path_factory.mktemp("maintainer")
    return publish(home, place(home / "model", FILES), "--piece-length", str(PIECE))


class Torture:
    """Fetches of one release, killed again and again; a fresh folder and home for each round.

    Attributes:
        kills: how many processes were killed.
        rounds: how many came to their end.
        underway: bytes that lay in the kernel's buffers at the kills: sent, and taken by nobody.
        phases: how many kills found the disk in which state.
    """

    def __init__(self, user: Path, published: Published, seeder: Seeder) -> None:
        self.user = user
        self.published = published
        self.seeder = seeder
        self.kills = self.rounds = self.underway = 0
        self.phases: Counter[str] = Counter()
        self.home = self._fresh()
        self.disk = Disk(self.home / "out", FILES, PIECE)

    def start(self) -> Running:
        words = ("fetch", self.published.magnet, str(self.disk.folder), *self.published.trust)
        return Running(
            self.home, *words, "--peer", self.seeder.peer, "--max-down", str(RATE), "--quiet", "--json"
        )

    def kill(self, running: Running) -> None:
        """SIGKILL; all that was started ends, and what lies on the disk is true.

        The process is stopped for a moment first, so that what the kernel still holds for it can be counted.
        """
        running.send(signal.SIGSTOP)
        self.underway += underway(self.seeder.port)
        running.kill()
        self.kills += 1
        until(lambda: not running.relatives(), "its workers to end", within=10)
        until(lambda: not connections(self.seeder.port), "the seeder to see it gone", within=10)
        self.disk.look()
        self.phases[self.disk.phase()] += 1

    def end(self, running: Running) -> None:
        """Let a fetch come to its end: all is there, and nothing that was on the disk came again."""
        here = self.disk.bytes()
        received = running.result(within=90)["received"]
        assert received["swarm"] <= self.published.size - here
        assert received["swarm"] + received["reused"] == self.published.size
        assert_whole(self.disk.folder, self.published)
        self.rounds += 1
        self.home = self._fresh()
        self.disk = Disk(self.home / "out", FILES, PIECE)

    def _fresh(self) -> Path:
        """A home that knows of no release whose files could be taken over."""
        home = self.user / f"home-{self.rounds}"
        home.mkdir(parents=True)
        return home


def test_killed_at_random_moments(published: Published, tmp_path: Path) -> None:
    """SIGKILL, `WEIGHTSHARE_KILLS` times: never a wrong file under its name, and nothing on the disk fetched again.

    Half of the moments are counted from the start of the process, half from its first connection.
    """
    dice = random.Random(RANDOM_SEED)
    whole = published.size / RATE
    with seeding(published.home) as seeder:
        torture = Torture(tmp_path / "user", published, seeder)
        while torture.kills < KILLS:
            with torture.start() as running:
                delay = dice.uniform(0, whole + 1.5)
                if dice.random() < 0.5:
                    delay = dice.uniform(0, whole + 0.5)
                    until(lambda: running.status is not None or connections(seeder.port), "a connection")
                _until_later(running, delay)
                if running.status is None:
                    torture.kill(running)
                else:
                    torture.end(running)
        with torture.start() as running:
            torture.end(running)
        uploaded = seeder.stop()["uploaded"]
    twice = uploaded - torture.rounds * published.size
    lost = twice - torture.underway
    print(
        f"{torture.kills} kills (WEIGHTSHARE_KILL_SEED={RANDOM_SEED}), {dict(torture.phases)}, {torture.rounds} rounds "
        f"of {published.size} bytes; {twice} bytes sent more than once, {torture.underway} of them never read from the "
        f"kernel, {lost / torture.kills / PIECE:.2f} pieces a kill lost by the process"
    )
    # Lost with a process: pieces that are not whole, and whole ones that were not on the disk yet, which is flushed
    # four times a second. Beside the files, each run takes the manifest, and padding in every file's last block.
    runs = torture.kills + torture.rounds
    assert lost <= torture.kills * (RATE // 2 + 2 * PIECE) + runs * (len(FILES) + 1) * 16 * KIB


def test_killed_without_v1_hashes(published: Published, user: Path) -> None:
    """The engine knows no piece hashes of a v2-only torrent then; what had been read back is known all the same."""
    v2_only = publish(
        published.home, published.folder, "--piece-length", str(PIECE), "--v2-only", "--version", "2"
    )
    disk = Disk(user / "out", FILES, PIECE)
    with seeding(v2_only.home, "acme/m7b@2") as seeder:
        with fetching(user, v2_only, seeder) as running:
            until_some(disk, running, share=0.5)
            running.kill()
        disk.look()
        with fetching(user, v2_only, seeder) as running:
            received = running.result()["received"]
    # Pieces are read back within a second after they have reached the disk.
    assert received["swarm"] <= published.size - disk.bytes() + RATE
    assert received["swarm"] + received["reused"] == published.size
    assert_whole(user / "out", v2_only)


@pytest.mark.parametrize("number", range(3))
def test_killed_while_names_are_given(tmp_path: Path, number: int) -> None:
    """SIGKILL as soon as the first of many files has its name: those that have it are whole, the rest follow."""
    user = tmp_path / "user"
    user.mkdir()
    many = {f"layer-{index:03}/shard.safetensors": shard(2 * KIB + index, index) for index in range(400)}
    published = publish(tmp_path / "maintainer", place(tmp_path / "model", many))
    words = ("fetch", published.magnet, "out", *published.trust, "--json")
    with seeding(published.home) as seeder:
        with Running(user, *words, "--peer", seeder.peer) as running:
            first = user / "out" / min(many)
            until(lambda: first.exists() or running.status is not None, "the first name", within=60)
            time.sleep(random.Random(number).uniform(0, 0.01))
            running.kill()
        named = [path for path in many if (user / "out" / path).exists()]
        assert named
        for path in named:
            assert (user / "out" / path).read_bytes() == many[path]
        with Running(user, *words, "--peer", seeder.peer) as running:
            assert running.result()["received"] == {"swarm": 0, "hub": 0, "reused": published.size}
        assert_whole(user / "out", published)


def test_killed_while_the_staging_folder_goes(published: Published, user: Path) -> None:
    """All is in place and written down then, and the next fetch takes away what was left behind."""
    with seeding(published.home) as seeder, fetching(user, published, seeder) as running:
        running.result()
    staged = user / "out" / STAGING / str(published.facts["info_hash_v2"])[:16]
    lock = staged.with_name(f"{staged.name}.lock")
    for left in (staged / "m7b" / "a folder" / "left", lock, None):
        staged.parent.mkdir()
        if left is not None:
            left.parent.mkdir(parents=True, exist_ok=True)
            left.touch()
            lock.write_text("1")
        with Running(user, "fetch", published.magnet, "out", *published.trust, "--json") as running:
            assert running.result()["received"]["swarm"] == 0
        assert_whole(user / "out", published)


@pytest.fixture
def user(tmp_path: Path) -> Path:
    home = tmp_path / "user"
    home.mkdir()
    return home


def fetching(user: Path, published: Published, seeder: Seeder, *words: str) -> Running:
    """A fetch into `out`, slow enough to be caught at it."""
    words = ("--peer", seeder.peer, "--max-down", str(RATE), "--json", *words)
    return Running(user, "fetch", published.magnet, "out", *published.trust, *words)


def until_some(disk: Disk, running: Running, share: float = 0.2) -> None:
    """Wait until a share of the release is on the disk."""

    def look() -> bool:
        assert running.status is None, (running.status, running.out(), running.err())
        disk.look()
        return disk.bytes() >= share * disk.size

    until(look, f"{share:.0%} on the disk", within=60)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_by_a_signal(published: Published, user: Path, number: signal.Signals) -> None:
    """Ctrl-C ends in 130 and keeps what came: even what was not on the disk yet is written out first."""
    disk = Disk(user / "out", FILES, PIECE)
    with seeding(published.home) as seeder:
        with fetching(user, published, seeder) as running:
            until_some(disk, running)
            running.send(number)
            stopped = running.result(130, within=20)
            assert stopped["error"] == "interrupted"
            assert stopped["exit_code"] == 130
            assert "resumes" in stopped["hint"]
            until(lambda: not running.relatives(), "its workers to end", within=10)
        disk.look()
        here = disk.bytes()
        with fetching(user, published, seeder) as running:
            received = running.result()["received"]
            # It stopped in order, so nothing is compared with the hashes anew.
            assert "checking" not in running.err()
    assert received["swarm"] <= published.size - here
    assert received["swarm"] + received["reused"] == published.size
    assert_whole(user / "out", published)


def test_other_files_are_wanted_the_second_time(published: Published, user: Path) -> None:
    """What an interrupted run asked for binds no later one, and what it had brought is not lost."""
    only = "model-00001-of-00004.safetensors"
    disk = Disk(user / "out", FILES, PIECE)
    with seeding(published.home) as seeder:
        with fetching(user, published, seeder, "--include", only) as running:
            until_some(disk, running, share=0.05)
            running.send(signal.SIGINT)
            running.result(130, within=20)
        disk.look()
        assert {path for path, _ in disk.pieces} == {only}
        with fetching(user, published, seeder, "--exclude", "model-*") as running:
            some = running.result()
        assert (
            some["bytes"]
            == some["received"]["swarm"]
            == sum(map(len, FILES.values()))
            - sum(len(data) for path, data in FILES.items() if path.startswith("model-"))
        )
        with fetching(user, published, seeder) as running:
            received = running.result()["received"]
    assert received["swarm"] <= published.size - some["bytes"] - disk.bytes()
    assert_whole(user / "out", published)


def test_goes_on_by_itself_when_the_seeder_comes_back(published: Published, user: Path) -> None:
    disk = Disk(user / "out", FILES, PIECE)
    with ExitStack() as stack:
        seeder = stack.enter_context(seeding(published.home))
        running = stack.enter_context(fetching(user, published, seeder, "--timeout", "60"))
        until_some(disk, running)
        seeder.kill()
        until(lambda: "no peers" in running.err(), "the fetch to say that nobody is there", within=30)
        assert running.status is None
        stack.enter_context(seeding(published.home, port=seeder.port))
        received = running.result()["received"]
    # What was on its way when the seeder went may come again.
    assert published.size <= received["swarm"] < published.size + 4 * PIECE
    assert received["reused"] == 0
    assert_whole(user / "out", published)


def test_gives_up_in_time_when_the_seeder_stays_away_and_resumes_later(
    published: Published, user: Path
) -> None:
    disk = Disk(user / "out", FILES, PIECE)
    with seeding(published.home) as seeder, fetching(user, published, seeder, "--timeout", "4") as running:
        until_some(disk, running)
        seeder.kill()
        gone = time.monotonic()
        failed = running.result(5, within=30)
        # The limit, and what it takes to notice, to write out what came, and to end.
        assert 3 < time.monotonic() - gone < 4 + 10
    assert failed["exit_code"] == 5
    assert "the same command resumes" in failed["hint"]
    disk.look()
    here = disk.bytes()
    assert here
    assert not any((user / "out" / path).exists() for path in FILES)
    with seeding(published.home) as seeder, fetching(user, published, seeder) as running:
        received = running.result()["received"]
    assert received["swarm"] <= published.size - here
    assert_whole(user / "out", published)


def _until_later(running: Running, delay: float) -> None:
    moment = time.monotonic() + delay
    until(
        lambda: running.status is not None or time.monotonic() >= moment,
        "the moment or the end",
        within=delay + 60,
    )
