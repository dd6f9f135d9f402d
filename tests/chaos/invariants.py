"""What must hold whatever goes wrong, and the looking after it.

- A file under its final name is the published one, whenever it is looked at.
- A store never says `complete` of a release that is not whole.
- A command ends with a documented status, one that fits what was done to it, and says the same in its JSON.
- Nobody sees a traceback.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from tests.builders_checkpoints import digest
from tests.chaos.plan import AWAY, DISK, STAGED, Injection, Kind, When
from weightshare.manifest.model import MANIFEST_NAME

DOCUMENTED = frozenset({0, 2, 3, 4, 5, 6, 7, 8, 130})
KILLED = -9

_Stamp = tuple[int, int, int, int]


class Violation(AssertionError):  # noqa: N818  it is what was found, not what went wrong in finding it
    """Something that must never be."""


class Watch:
    """Looks at the files under their final names, and reads each one that is new or has changed.

    Args:
        folder: where the release lands.
        truth: SHA-256 in hex of each of its files, by path, the manifest's included.

    Attributes:
        behind: files with wrong bytes that another program (we) wrote behind the proof, while the rest of the file was
            still coming. No fetch can see that; `verify` must.
    """

    def __init__(self, folder: Path, truth: Mapping[str, str]) -> None:
        self.folder = folder
        self._truth = truth
        self._seen: dict[str, _Stamp] = {}
        self._ours: dict[str, _Stamp | None] = {}
        self._suspects: set[str] = set()
        self.behind: set[str] = set()

    def suspect(self, path: str) -> None:
        """We have written into this file while it was fetched: maybe where its pieces had been proven already."""
        self._suspects.add(path)

    def excuse(self, path: str) -> None:
        """We have changed this file ourselves: it is wrong until somebody replaces it."""
        self._ours[path] = _stamp(self.folder / path)

    def look(self) -> None:
        """Raise `Violation` if a file has its name and other bytes than the published one."""
        for path, expected in self._truth.items():
            stamp = _stamp(self.folder / path)
            if stamp is None or stamp == self._ours.get(path):
                self._seen.pop(path, None)
            elif self._seen.get(path) != stamp:
                try:
                    found = digest(self.folder / path)
                except FileNotFoundError:
                    continue
                if found != expected and path in self._suspects:
                    self.behind.add(path)
                    self.excuse(path)
                    continue
                if found != expected:
                    raise Violation(f"{path} has its final name and is not the published file: {found}")
                self._seen[path] = stamp

    def absent(self) -> list[str]:
        """The files that have no final name."""
        self.look()
        return [path for path in self._truth if path not in self._seen]


def whole(watch: Watch, truth: Mapping[str, str]) -> None:
    """All of the release is there, and nothing else: no staged file, no half of one."""
    absent = watch.absent()
    if absent:
        raise Violation(f"the fetch ended with 0, and these files are not there: {', '.join(absent)}")
    found = {path.relative_to(watch.folder).as_posix() for path in watch.folder.rglob("*") if path.is_file()}
    extra = found - set(truth)
    if extra:
        raise Violation(f"the fetch ended with 0 and left behind: {', '.join(sorted(extra))}")


def claims(listed: Mapping[str, Any], watch: Watch) -> None:
    """What `ls --json` said: complete only where every file is under its name (and `look` has read each)."""
    for release in listed["releases"]:
        if release["complete"] and Path(release["path"]) == watch.folder:
            absent = [path for path in watch.absent() if path not in {MANIFEST_NAME, *watch.behind}]
            if absent:
                raise Violation(f"ls says complete, and these files are not there: {', '.join(absent)}")


def expected(injections: Collection[Injection]) -> frozenset[int]:
    """The statuses that a fetch may end with, after what was done to it. 0 always; `whole` holds it to that."""
    statuses = {0}
    for injection in injections:
        kind = injection.kind
        if kind in AWAY:
            statuses.add(5)
        if (
            kind in DISK
            or kind is Kind.WORKER_KILLED
            or (kind in STAGED and injection.when is not When.BEFORE)
        ):
            statuses.add(6)
        if kind is Kind.FETCH_KILLED:
            statuses.add(KILLED)
        if kind in (Kind.FETCH_INTERRUPTED, Kind.FETCH_TERMINATED):
            statuses.add(130)
            if injection.when is When.EARLY:  # before the interpreter takes signals; 130 and 143 to a shell
                statuses.add(-2 if kind is Kind.FETCH_INTERRUPTED else -15)
    return frozenset(statuses)


def ended(status: int, out: str, err: str, allowed: frozenset[int]) -> dict[str, Any]:
    """Hold the end of a `--json` command against what it may be; returns its last JSON object, empty if killed."""
    if "Traceback" in err or "Traceback" in out:
        raise Violation(f"a traceback, status {status}:\n{err}{out}")
    if status not in allowed:
        undocumented = "" if status in DOCUMENTED or status < 0 else ", which is documented nowhere"
        raise Violation(f"status {status}{undocumented}, allowed {sorted(allowed)}:\n{out}{err}")
    if status < 0:
        return {}
    lines = out.splitlines()
    # Ctrl-C may come before the command line was read, and there is nothing to say then.
    if not lines and status == 130:
        return {}
    try:
        value = json.loads(lines[-1])
    except (IndexError, ValueError):
        raise Violation(f"status {status} and no JSON on stdout:\n{out}{err}") from None
    # What `verify` finds is a result, not an error.
    said = 4 if value.get("ok") is False else value.get("exit_code", 0)
    if said != status:
        raise Violation(f"status {status}, and its JSON says {said}:\n{out}")
    assert isinstance(value, dict)
    return value


def _stamp(path: Path) -> _Stamp | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
