"""Making things go wrong, one function a kind. Each says what it did, or that its moment had passed."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.chaos import disks
from tests.chaos.plan import Injection, Kind
from tests.chaos.scene import Scene
from tests.integration.waiting import until
from weightshare.units import KIB

MISSED = ""
"""There was nothing (any more) to do it to."""


class UnableError(Exception):
    """It cannot be done on this machine; the message says why."""


def inject(scene: Scene, injection: Injection) -> str:
    """Do it, and undo it again after its time; returns what was done, `MISSED` if nothing was.

    Raises:
        UnableError: this machine cannot do it.
    """
    return _HOW[injection.kind](scene, injection)


# ---- processes


def _end(number: signal.Signals) -> Callable[[Scene, Injection], str]:
    def act(scene: Scene, _: Injection) -> str:
        if scene.running is None or scene.running.status is not None:
            return MISSED
        scene.running.send(number)
        return f"{number.name} at {scene.here()} bytes"

    return act


def _kill_worker(scene: Scene, injection: Injection) -> str:
    assert scene.running is not None
    main = scene.running.pid
    workers = sorted(pid for pid in scene.running.relatives() if pid != main)
    if not workers or scene.over():
        return MISSED
    pid = random.Random(injection.dice).choice(workers)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        return f"worker {workers.index(pid) + 1} of {len(workers)}"
    return MISSED


def _stop_fetch(scene: Scene, injection: Injection) -> str:
    if scene.running is None or scene.over():
        return MISSED
    with _stopped(scene):
        scene.hold(injection.seconds)
    return f"for {injection.seconds:.1f} s"


def _stop_seeder(scene: Scene, injection: Injection) -> str:
    if not scene.seeds():
        return MISSED
    scene.signal_seeder(signal.SIGSTOP)
    scene.hold(injection.seconds)
    scene.signal_seeder(signal.SIGCONT)
    return f"for {injection.seconds:.1f} s"


def _kill_seeder(scene: Scene, injection: Injection) -> str:
    if not scene.seeds():
        return MISSED
    here = scene.here()
    scene.kill_seeder()
    scene.hold(injection.seconds)
    scene.start_seeder()
    return f"at {here} bytes, for {injection.seconds:.1f} s"


# ---- the network


def _cut(scene: Scene, injection: Injection) -> str:
    scene.link.cut(on=True)
    try:
        scene.hold(injection.seconds)
    finally:
        scene.link.cut(on=False)
    return f"for {injection.seconds:.1f} s"


# ---- the disk


@contextmanager
def lasting(scene: Scene, injection: Injection) -> Iterator[str]:
    """A disk that is full or read-only for as long as the context; yields what was done, `MISSED` if nothing was.

    Raises:
        UnableError: this machine cannot do it.
    """
    if not scene.mounts:
        raise UnableError(disks.missing())
    if injection.kind is Kind.DISK_FULL:
        ballast = disks.fill(scene.disk)
        try:
            yield "no byte left"
        finally:
            ballast.unlink()
    else:
        try:
            how = disks.freeze(scene.disk, scene.folder)
            yield how
        finally:
            disks.thaw(scene.disk)


def _disk(scene: Scene, injection: Injection) -> str:
    with lasting(scene, injection) as how:
        if how:
            scene.hold(injection.seconds)
    return f"{how}, for {injection.seconds:.1f} s" if how else MISSED


# ---- files behind its back


def _cut_file(path: Path, dice: random.Random) -> str:
    size = path.stat().st_size
    os.truncate(path, dice.randrange(size) if size else 0)
    return "truncated"


def _overwrite(path: Path, dice: random.Random) -> str:
    """Other bytes, as many; half of the time with the time of change put back."""
    before = path.stat()
    length = min(before.st_size, dice.randrange(1, 300 * KIB))
    _garble(path, dice, length)
    if back := dice.random() < 0.5:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    return f"{length} bytes{', time put back' if back else ''}"


def _remove(path: Path, _: random.Random) -> str:
    path.unlink()
    return "removed"


def _garble(path: Path, dice: random.Random, length: int) -> None:
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(dice.randrange(max(1, size - length + 1)))
        file.write(dice.randbytes(length))


def _staged(how: Callable[[Path, random.Random], str]) -> Callable[[Scene, Injection], str]:
    def act(scene: Scene, injection: Injection) -> str:
        dice = random.Random(injection.dice)
        # At a standstill, so that the file cannot get its final name under our hands.
        with _stopped(scene):
            found = [path for path in scene.staged() if path.stat().st_blocks]
            if not found:
                return MISSED
            path = dice.choice(found)
            if scene.running is not None and how is _overwrite:
                scene.watch.suspect("/".join(path.relative_to(scene.folder).parts[3:]))
            return f"{path.relative_to(scene.folder)}: {how(path, dice)}"

    return act


def _state(how: Callable[[Path, random.Random], str]) -> Callable[[Scene, Injection], str]:
    def act(scene: Scene, injection: Injection) -> str:
        dice = random.Random(injection.dice)
        found = scene.state()
        if not found:
            return MISSED
        path = dice.choice(found)
        return f"{path.name}: {how(path, dice)}"

    return act


def _garble_state(path: Path, dice: random.Random) -> str:
    length = min(path.stat().st_size, dice.randrange(1, 200))
    _garble(path, dice, length)
    return f"{length} bytes"


def _change_landed(scene: Scene, injection: Injection) -> str:
    """One byte of a file that has its final name, its size and time as before."""
    dice = random.Random(injection.dice)
    path = scene.folder / dice.choice([path for path, size in scene.release.shape.files if size])
    before = path.stat()
    path.chmod(0o644)
    with path.open("r+b") as file:
        at = dice.randrange(before.st_size)
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1 << dice.randrange(8)]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    path.chmod(before.st_mode & 0o777)
    name = path.relative_to(scene.folder).as_posix()
    scene.watch.excuse(name)
    return name


@contextmanager
def _stopped(scene: Scene) -> Iterator[None]:
    """The fetch at a standstill; nothing if it is not there."""
    running = scene.running
    if running is None:
        yield
        return
    running.send(signal.SIGSTOP)
    try:
        until(lambda: scene.over() or _state_of(running.pid) in "TtZX", "the fetch to stand still", within=20)
        yield
    finally:
        running.send(signal.SIGCONT)


def _state_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def tidy(scene: Scene) -> None:
    """What a person does whom a damaged record is in the way of: the hint says to delete the record's folder."""
    shutil.rmtree(scene.home / "releases", ignore_errors=True)


_HOW: dict[Kind, Callable[[Scene, Injection], str]] = {
    Kind.FETCH_KILLED: _end(signal.SIGKILL),
    Kind.FETCH_INTERRUPTED: _end(signal.SIGINT),
    Kind.FETCH_TERMINATED: _end(signal.SIGTERM),
    Kind.WORKER_KILLED: _kill_worker,
    Kind.FETCH_STOPPED: _stop_fetch,
    Kind.SEEDER_KILLED: _kill_seeder,
    Kind.SEEDER_GONE: _kill_seeder,
    Kind.SEEDER_STOPPED: _stop_seeder,
    Kind.LINK_CUT: _cut,
    Kind.DISK_FULL: _disk,
    Kind.READ_ONLY: _disk,
    Kind.STAGED_CUT: _staged(_cut_file),
    Kind.STAGED_OVERWRITTEN: _staged(_overwrite),
    Kind.STAGED_REMOVED: _staged(_remove),
    Kind.STATE_CUT: _state(_cut_file),
    Kind.STATE_GARBLED: _state(_garble_state),
    Kind.STATE_REMOVED: _state(_remove),
    Kind.LANDED_CHANGED: _change_landed,
}
