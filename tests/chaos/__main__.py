"""`python -m tests.chaos`: everything happens to fetches, for a few minutes; exit 1 if anything untrue was seen."""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from tests import namespaces
from tests.chaos import disks
from tests.chaos.invariants import Violation
from tests.chaos.plan import SHAPES, Round, round_of, shape_of
from tests.chaos.playing import Played, Player
from tests.chaos.report import lines, total
from tests.chaos.scene import Release, Scene, make_release

_LAST_ROUND = 30.0  # seconds before the end in which no round begins
_HURRY = 15.0  # and in which no further injections are made


@dataclass(frozen=True, slots=True)
class Limits:
    """How long, and how much: seconds, and a number of rounds or 0."""

    seconds: float
    rounds: int = 0
    first: int = 0


class Chaos:
    """A chaos run.

    Args:
        seed: everything is drawn from it.
        limits: how long it may take.
        work: a folder; what a violation was seen in stays there.
        bare: do without root's means, namespaces and mounts, even where there are any.
    """

    def __init__(self, seed: int, limits: Limits, work: Path, *, bare: bool = False) -> None:
        self.seed = seed
        self.limits = limits
        self.work = work
        self.no_namespaces = "not wanted" if bare else namespaces.missing()
        self.no_mounts = "not wanted" if bare else disks.missing()
        self.played: list[Played] = []
        self.violations: list[str] = []
        self._began = time.monotonic()
        self._numbers = itertools.count(limits.first)
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self._began

    def run(self, lanes: int) -> None:
        """Play rounds, so many at a time, until the time is up."""
        with ThreadPoolExecutor(lanes) as pool:
            ends = [pool.submit(self._lane, lane) for lane in range(lanes)]
            try:
                for end in ends:
                    end.result()
            except BaseException:
                # Ctrl-C, or something that is wrong with ourselves: no more rounds, and those under way tidy up.
                self._stopped.set()
                raise

    def _lane(self, lane: int) -> None:
        work = self.work / f"lane-{lane}"
        work.mkdir()
        releases: dict[int, Release] = {}
        for number in self._rounds():
            plan = round_of(self.seed, number)
            if plan.shape not in releases:
                shape = shape_of(self.seed, plan.shape)
                releases[plan.shape] = make_release(work, self.seed, shape)
            self._round(work / f"round-{number}", releases[plan.shape], plan)

    def _rounds(self) -> Iterator[int]:
        while not self._stopped.is_set():
            if self.seconds > self.limits.seconds - _LAST_ROUND and (self.played or self.violations):
                return
            with self._lock:
                number = next(self._numbers)
            if self.limits.rounds and number >= self.limits.first + self.limits.rounds:
                return
            yield number

    def _hurry(self) -> bool:
        return self._stopped.is_set() or self.seconds > self.limits.seconds - _HURRY

    def _round(self, work: Path, release: Release, plan: Round) -> None:
        work.mkdir()
        (work / "plan.json").write_text(json.dumps(asdict(plan), indent=1))
        began = time.monotonic()

        def log(line: str) -> None:
            with (work / "log").open("a") as file:
                file.write(f"{time.monotonic() - began:7.3f}  {line}\n")

        scene = Scene(
            work,
            release,
            plan,
            namespaces=not self.no_namespaces,
            mounts=not self.no_mounts,
            log=log,
        )
        player = Player(scene, self._hurry)
        try:
            with scene:
                try:
                    played = player.play()
                except BaseException as error:
                    log("".join(traceback.format_exception(error)))
                    self._keep(scene)
                    raise
        except AssertionError as error:  # a violation, or a wait that came to nothing
            self._violated(plan.number, error, work)
            return
        played.seconds = time.monotonic() - began
        with self._lock:
            self.played.append(played)
            say(
                f"round {plan.number}: {played.made.total()} injections, {played.statuses.total()} runs, "
                f"{played.laps} whole, {played.seconds:.1f} s"
            )
        shutil.rmtree(work)

    def _keep(self, scene: Scene) -> None:
        """A copy of the small disk, which goes when the scene ends."""
        scene.kill_seeder()
        if not self.no_mounts and scene.disk.exists():
            shutil.copytree(scene.disk, scene.work / "kept", symlinks=True, dirs_exist_ok=True)

    def _violated(self, number: int, error: AssertionError, work: Path) -> None:
        what = str(error) if isinstance(error, Violation) else f"{type(error).__name__}: {error}"
        with self._lock:
            self.violations.append(f"round {number}: {what}\n  evidence: {work}")
            say(f"VIOLATION in round {number}, seed {self.seed}: {what}\n  evidence: {work}")


def say(line: str) -> None:
    """A line for whoever watches."""
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    """Run it from the command line; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="how long at most (10)")
    parser.add_argument("--seed", type=int, help="draws the plan; a new one each time if left out")
    parser.add_argument(
        "--lanes", type=int, default=min(4, 1 + (os.cpu_count() or 1)), help="rounds at a time"
    )
    parser.add_argument("--round", type=int, help="play this round of the seed alone")
    parser.add_argument("--bare", action="store_true", help="without namespaces and mounts, as if not root")
    parser.add_argument("--data", type=Path, help="where data lies (the folder for temporary files)")
    asked = parser.parse_args()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell lets its background ignore Ctrl-C, and our children would inherit that.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    seed = random.SystemRandom().randrange(1 << 32) if asked.seed is None else asked.seed
    limits = Limits(60 * asked.minutes, 0 if asked.round is None else 1, asked.round or 0)
    work = Path(tempfile.mkdtemp(dir=asked.data, prefix="weightshare-chaos-"))
    chaos = Chaos(seed, limits, work, bare=asked.bare)
    say(f"seed {seed}, at most {asked.minutes:g} min, {SHAPES} releases, {asked.lanes} rounds at a time")
    if chaos.no_namespaces:
        say(f"links are cut at a relay on loopback: {chaos.no_namespaces}")
    if chaos.no_mounts:
        say(f"no full disks and no read-only folders: {chaos.no_mounts}")
    try:
        chaos.run(1 if asked.round is not None else asked.lanes)
    except KeyboardInterrupt:
        say("interrupted; the rounds under way came to their end")
        return 130
    finally:
        print("\n".join(["", *lines(total(chaos.played), seed, chaos.seconds, chaos.violations)]), flush=True)
        if not chaos.violations:
            shutil.rmtree(work, ignore_errors=True)
    return 1 if chaos.violations else 0


if __name__ == "__main__":
    sys.exit(main())
