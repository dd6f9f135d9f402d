"""One round's world: a published release, its seeder, a liar, the link between, and the disk where a fetch lands."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.builders_checkpoints import digest, place, shard
from tests.chaos import disks
from tests.chaos.invariants import Violation, Watch
from tests.chaos.links import Link, Namespaces, Relay
from tests.chaos.plan import Round, Shape
from tests.cli.helpers import environment
from tests.integration.releases import Published, publish
from tests.integration.running import Running, Seeder
from weightshare.content.store import STAGING
from weightshare.manifest.metainfo import parse_torrent
from weightshare.manifest.model import MANIFEST_NAME
from weightshare.units import BLOCK, MIB

_HOSTILE = Path(__file__).parents[1] / "attacks" / "hostile_seeder.py"
_ROOM = 64 * MIB  # beside the release: what a fetch keeps free, and its state
_LOOK_EVERY = 0.02


@dataclass(frozen=True)
class Release:
    """A published release, what its files must be, and where a copy with wrong bytes lies.

    Attributes:
        truth: SHA-256 in hex by path, the manifest's included.
        lies: the same folder, with wrong bytes in every larger file.
    """

    shape: Shape
    published: Published
    truth: Mapping[str, str]
    lies: Path

    @property
    def name(self) -> str:
        """As its maintainer's store calls it."""
        return str(self.published.facts["release"])


def make_release(work: Path, seed: int, shape: Shape) -> Release:
    """Write a release's files, publish it, and make the copy that lies."""
    dice = random.Random(f"{seed} files {shape.number}")
    files = {
        path: shard(size, dice.getrandbits(32)) if path.endswith(".safetensors") else _text(path, size, dice)
        for path, size in shape.files
    }
    folder = place(work / f"model-{shape.number}", files)
    words = ("--piece-length", str(shape.piece_length), *(("--v2-only",) if shape.v2_only else ()))
    published = publish(
        work / f"maintainer-{shape.number}", folder, *words, name=f"chaos/shape-{shape.number}"
    )
    truth = {path: digest(folder / path) for path in (*files, MANIFEST_NAME)}
    lies = work / f"lies-{shape.number}"
    shutil.copytree(folder, lies)
    for path, data in files.items():
        if len(data) > shape.piece_length:
            wrong = bytearray(data)
            for at in range(100, len(wrong), dice.choice((BLOCK, 4 * BLOCK, 32 * BLOCK))):
                wrong[at] ^= 0xFF
            (lies / path).chmod(0o644)
            (lies / path).write_bytes(wrong)
    return Release(shape, published, truth, lies)


def _text(path: str, size: int, dice: random.Random) -> bytes:
    if path.endswith(".json"):
        return json.dumps({"filler": "x" * max(0, size - 15)}).encode()
    return bytes(dice.choice(b"abcdefgh \n") for _ in range(size))


class Scene:
    """A round's world, as a context; everything that it started is gone afterwards.

    Args:
        work: a folder of its own.
        release: what is fetched.
        plan: the round.
        namespaces: whether there can be network namespaces.
        mounts: whether small disks can be mounted.
        log: takes a line about what happens.
    """

    def __init__(
        self,
        work: Path,
        release: Release,
        plan: Round,
        *,
        namespaces: bool,
        mounts: bool,
        log: Callable[[str], None],
    ) -> None:
        self.work = work
        self.release = release
        self.plan = plan
        self.mounts = mounts
        self.log = log
        self.link: Link = Namespaces() if plan.apart and namespaces else Relay()
        self.disk = work / "disk"
        self.user = work / "user"
        self.running: Running | None = None
        self._seeder: Seeder | None = None
        self._port = 0
        self._lap = 0
        self._stack = ExitStack()
        self.watch = Watch(self.folder, release.truth)

    def __enter__(self) -> Self:
        self.user.mkdir()
        with ExitStack() as stack:
            if self.mounts:
                stack.enter_context(disks.small_disk(self.disk, self.release.shape.size + _ROOM))
            else:
                self.disk.mkdir()
            stack.enter_context(self.link)
            stack.callback(self.kill_seeder)
            self.start_seeder()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    # ---- where things are

    @property
    def folder(self) -> Path:
        """Where the release lands in this lap."""
        return self.disk / f"out-{self._lap}"

    @property
    def home(self) -> Path:
        """The fetch's own folder in this lap."""
        return (self.disk if self.plan.home_too else self.user) / f"home-{self._lap}"

    def staged(self) -> list[Path]:
        """The files that are not proven yet."""
        return sorted(path for path in self.folder.glob(f"{STAGING}/*/*/**/*") if path.is_file())

    def state(self) -> list[Path]:
        """What the fetch keeps for the next run."""
        return sorted(path for path in self.home.glob("releases/*/*") if path.is_file())

    def here(self) -> int:
        """Bytes of the release that the disk holds, right or wrong; sparse parts do not count."""
        found = 0
        for path in (*self.staged(), *(self.folder / path for path, _ in self.release.shape.files)):
            with contextlib.suppress(OSError):
                stat = path.stat()
                found += min(stat.st_size, stat.st_blocks * 512)
        return found

    def next_lap(self) -> None:
        """Forget what was fetched and begin anew, in another folder."""
        shutil.rmtree(self.folder)
        shutil.rmtree(self.home)
        self._lap += 1
        self.watch = Watch(self.folder, self.release.truth)

    # ---- processes

    def words(self, *more: str) -> tuple[str, ...]:
        """Options of each command of the user."""
        return ("--home", str(self.home), "--json", "--verbose", *more)

    @contextmanager
    def fetching(self, timeout: float, liars: tuple[str, ...] = ()) -> Iterator[Running]:
        """The fetch, running."""
        published = self.release.published
        words = ["fetch", published.magnet, str(self.folder), *published.trust, *self.words()]
        words += [
            "--network",
            self.link.network,
            "--timeout",
            str(timeout),
            "--max-down",
            str(self.plan.rate),
        ]
        for peer in (self.link.to_seeder(self._port), *liars):
            words += ["--peer", peer]
        with Running(self.user, *words, before=self.link.at_fetch) as running:
            self.running = running
            try:
                yield running
            finally:
                self.running = None

    def start_seeder(self) -> None:
        """Start the seeder, or start it again where it was."""
        words = (self.release.name, "--network", self.link.network)
        home = self.release.published.home
        # On loopback always at a port of its own: others may have taken the last one, and the relay's stays the same.
        self._seeder = Seeder(home, *words, port=self.link.port, before=self.link.at_seeder)
        self._port = self._seeder.port
        self.link.to_seeder(self._port)

    def kill_seeder(self) -> None:
        """End the seeder at once; nothing if there is none."""
        seeder, self._seeder = self._seeder, None
        if seeder is not None:
            seeder.__exit__(None, None, None)

    def signal_seeder(self, number: signal.Signals) -> None:
        """Signal the seeder; nothing if there is none."""
        if self._seeder is not None:
            self._seeder.send(number)

    def seeds(self) -> bool:
        """Whether the seeder is there; one that ended by itself is a violation."""
        if self._seeder is not None and self._seeder.status is not None:
            raise Violation(
                f"the seeder ended with {self._seeder.status}:\n{self._seeder.out()}{self._seeder.err()}"
            )
        return self._seeder is not None

    def stop_seeder(self) -> None:
        """End the seeder by Ctrl-C, which must be a good end."""
        assert self._seeder is not None
        self._seeder.stop()
        if "Traceback" in self._seeder.err():
            raise Violation(f"the seeder's traceback:\n{self._seeder.err()}")
        self.kill_seeder()

    @contextmanager
    def lying(self) -> Iterator[tuple[str, Callable[[], bool]]]:
        """A peer that has the right metadata and wrong bytes; its address, and whether it has sent any."""
        torrent = Path(str(self.release.published.facts["torrent"]))
        files = [
            str(self.release.lies / file.path) for file in parse_torrent(torrent.read_bytes()).info.files
        ]
        command = [*self.link.at_liar, sys.executable, str(_HOSTILE), self.link.liar_address]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(self.work)
        )
        assert process.stdin is not None
        assert process.stdout is not None
        took, gave = process.stdout, process.stdin

        def ask(order: Mapping[str, object]) -> dict[str, Any]:
            gave.write(json.dumps(order) + "\n")
            gave.flush()
            answer: dict[str, Any] = json.loads(took.readline())
            return answer

        try:
            port = json.loads(took.readline())["port"]
            served = ask({"serve": str(torrent), "files": files})
            if "served" not in served:
                raise RuntimeError(f"the liar does not serve: {served}")
            yield (
                f"{self.link.liar_address}:{port}",
                lambda: bool(ask({"sent": served["served"]})["files"]),
            )
        finally:
            process.kill()
            process.wait(10)
            gave.close()
            took.close()

    # ---- waiting, with an eye on what has a final name

    def until(self, look: Callable[[], object], within: float) -> bool:
        """Wait until there is something to see, for so many seconds; whether there was."""
        deadline = time.monotonic() + within
        while True:
            self.watch.look()
            if look():
                return True
            if time.monotonic() >= deadline:
                return False
            time.sleep(_LOOK_EVERY)

    def over(self) -> bool:
        """Whether the fetch has ended."""
        return self.running is None or self.running.status is not None

    def hold(self, seconds: float) -> None:
        """Wait so long, or until the fetch has ended."""
        self.until(self.over, seconds)
