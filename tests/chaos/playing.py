"""Plays a round: runs the fetch, makes things go wrong, and looks after every invariant meanwhile and afterwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tests.chaos import injections as made
from tests.chaos.invariants import Violation, claims, ended, expected, whole
from tests.chaos.plan import DISK, STATE, Injection, Kind, Round, Run, When
from tests.chaos.scene import Scene
from tests.cli.helpers import weightshare

_PATIENCE = 60.0  # seconds that a run may take beyond its bytes, on a busy machine
_CALM = Run(30.0, ())


@dataclass(slots=True)
class Played:
    """What came of a round.

    Attributes:
        number: the round's.
        made: injections that hit, by kind.
        missed: those whose moment had passed.
        skipped: those that this machine cannot make, with the reason.
        statuses: how the runs of the fetch ended.
        laps: releases that became whole.
        needed: their bytes.
        came: bytes that came over the link for them, packets and all.
        mended: times that `verify` found what had been changed behind the proof, and a fetch mended it.
        twice: bytes from the swarm, in runs that came to their end, beyond what the disk lacked when they began.
        seconds: how long it took.
    """

    number: int
    made: Counter[Kind] = field(default_factory=Counter)
    missed: Counter[Kind] = field(default_factory=Counter)
    skipped: dict[Kind, str] = field(default_factory=dict)
    statuses: Counter[int] = field(default_factory=Counter)
    laps: int = 0
    needed: int = 0
    came: int = 0
    mended: int = 0
    twice: int = 0
    seconds: float = 0.0


class Player:
    """Plays one round in a scene.

    Args:
        scene: the round's world.
        hurry: whether time is short, and the rest of the round's injections must be left out.
    """

    def __init__(self, scene: Scene, hurry: Callable[[], bool]) -> None:
        self.scene = scene
        self.plan: Round = scene.plan
        self.played = Played(self.plan.number)
        self._hurry = hurry
        self._runs = 0
        self._begun = False
        self._damaged = False

    def play(self) -> Played:
        """Play all of it.

        Raises:
            Violation: something was seen that must never be.
        """
        for run in self.plan.runs:
            if self._hurry():
                break
            if self.played.laps and not self._begun:
                self.scene.next_lap()
            if self._run(run) == 0:
                self._whole()
        if self._begun or not self.played.laps:
            if self._run(_CALM) != 0:
                raise Violation("a fetch that nothing was done to did not bring the release")
            self._whole()
        if self.plan.changed is not None:
            self._change(self.plan.changed)
        self.scene.stop_seeder()
        self.played.came = self.scene.link.came()
        return self.played

    # ---- a run

    def _run(self, run: Run) -> int:
        scene = self.scene
        self._runs += 1
        self._begun = True
        hits: list[Injection] = []
        with ExitStack() as stack:
            liars: list[tuple[Injection, str, Callable[[], bool]]] = []
            held: list[tuple[Injection, ExitStack]] = []
            for injection in run.injections:
                if injection.when is not When.BEFORE:
                    continue
                if injection.kind is Kind.LIAR:
                    address, sent = stack.enter_context(scene.lying())
                    liars.append((injection, address, sent))
                elif injection.kind in DISK:
                    own = stack.enter_context(ExitStack())
                    if self._note(injection, partial(own.enter_context, made.lasting(scene, injection))):
                        hits.append(injection)
                        held.append((injection, own))
                else:
                    said = self._note(injection, partial(made.inject, scene, injection))
                    self._damaged |= injection.kind in STATE and said.startswith("record.json")
                    hits += [injection] if said else []
            here = scene.here()
            scene.log(f"run {self._runs}: {here} bytes here, timeout {run.timeout:g} s")
            with scene.fetching(run.timeout, tuple(address for _, address, _ in liars)) as running:
                for injection, own in held:
                    scene.hold(injection.seconds)
                    own.close()
                for injection in run.injections:
                    if injection.when is not When.BEFORE and self._await(injection, run, here):
                        said = self._note(injection, partial(made.inject, scene, injection))
                        hits += [injection] if said else []
                bound = scene.release.shape.size / self.plan.rate + 2 * run.timeout + _PATIENCE
                if not scene.until(scene.over, bound):
                    raise Violation(f"still there after {bound:.0f} s:\n{running.out()}{running.err()}")
                if not scene.until(lambda: not running.relatives(), 15):
                    raise Violation(f"workers outlive the fetch by 15 s: {running.relatives()}")
                status = running.status
                assert status is not None
                out, err = running.out(), running.err()
            for injection, _, sent in liars:
                self._note(injection, partial(_sent, sent))
        self._keep(out, err)
        self.played.statuses[status] += 1
        scene.log(f"run {self._runs} ended with {status}")
        scene.watch.look()
        told = ended(status, out, err, expected(hits) | ({6} if self._damaged else set()))
        if told.get("error") == "store" and self._damaged:
            scene.log("the record's folder is deleted, as the hint says")
            made.tidy(scene)
            self._damaged = False
        if status == 0:
            self.played.twice += max(
                0, told["received"]["swarm"] - max(0, scene.release.published.size - here)
            )
        self._listed()
        if not scene.seeds():
            scene.start_seeder()
        return status

    def _await(self, injection: Injection, run: Run, here: int) -> bool:
        """Wait for an injection's moment; whether the fetch is still there then."""
        scene = self.scene
        if injection.when is When.EARLY:
            scene.hold(injection.value)
        else:
            size = scene.release.published.size
            target = here + injection.value * (size - here)
            bound = size / self.plan.rate + 2 * run.timeout + _PATIENCE
            if not scene.until(lambda: scene.over() or scene.here() >= target, bound):
                raise Violation(
                    f"neither {target:.0f} bytes nor an end after {bound:.0f} s: {scene.here()} bytes"
                )
        if scene.over():
            self._count(injection, made.MISSED)
            return False
        return True

    # ---- after a run

    def _whole(self) -> None:
        """The release is there: identical, verified, and called complete."""
        scene = self.scene
        scene.watch.look()
        if scene.watch.behind:
            self._mend(scene.watch.behind)
        whole(scene.watch, scene.release.truth)
        found = self._command("verify", str(scene.folder))
        if not found["ok"]:
            raise Violation(f"verify finds fault with a whole release: {found}")
        listed = self._command("ls")["releases"]
        if not any(release["complete"] for release in listed):
            raise Violation(f"ls does not say complete of a whole release: {listed}")
        self._damaged = False
        self.played.laps += 1
        self.played.needed += scene.release.published.size
        self._begun = False
        scene.log("whole and verified")

    def _change(self, injection: Injection) -> None:
        """A landed file changes: verify says so, and a fetch mends it."""
        scene = self.scene
        self._mend({self._note(injection, partial(made.inject, scene, injection))})
        self._whole()
        self.played.laps -= 1
        self.played.needed -= scene.release.published.size

    def _mend(self, changed: set[str]) -> None:
        """Files were changed behind the proof: verify names just them, and the same command fetches them again."""
        self.scene.log(f"changed behind the proof: {', '.join(sorted(changed))}")
        found = self._command("verify", str(self.scene.folder), status=4)
        bad = {file["path"] for file in found["files"] if not file["ok"]}
        if bad != changed:
            raise Violation(f"changed were {sorted(changed)}, and verify names {sorted(bad)}")
        changed.clear()
        self.played.mended += 1
        if self._run(_CALM) != 0:
            raise Violation(f"the fetch did not mend {sorted(bad)}")

    def _listed(self) -> None:
        scene = self.scene
        done = weightshare(scene.user, "ls", *scene.words())
        allowed = frozenset({0, 6} if self._damaged else {0})
        listed = ended(done.returncode, done.stdout.decode(), done.stderr.decode(), allowed)
        if done.returncode == 0:
            claims(listed, scene.watch)

    def _command(self, *words: str, status: int = 0) -> Mapping[str, Any]:
        scene = self.scene
        done = weightshare(scene.user, *words, *scene.words())
        return ended(done.returncode, done.stdout.decode(), done.stderr.decode(), frozenset({status}))

    # ---- accounts

    def _note(self, injection: Injection, act: Callable[[], str]) -> str:
        """Make it, and count it."""
        try:
            said = act()
        except made.UnableError as error:
            self.played.skipped[injection.kind] = str(error)
            return made.MISSED
        self._count(injection, said)
        return said

    def _count(self, injection: Injection, said: str) -> None:
        (self.played.made if said else self.played.missed)[injection.kind] += 1
        self.scene.log(f"{injection.kind.value}: {said or 'missed'}")

    def _keep(self, out: str, err: str) -> None:
        folder = self.scene.work / "said"
        folder.mkdir(exist_ok=True)
        (folder / f"{self._runs:02}.out").write_text(out)
        (folder / f"{self._runs:02}.err").write_text(err)


def _sent(look: Callable[[], bool]) -> str:
    return "bytes sent" if look() else made.MISSED
