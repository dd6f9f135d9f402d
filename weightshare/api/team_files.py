"""A team's root files on the disk: `NAME.VERSION.root.json`, side by side, the newest proven from the first.

A team that is known already is proven from what is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from weightshare.api.documents import check_free, naming, read_document, write_document
from weightshare.api.trusting import team_of
from weightshare.content.home import Home
from weightshare.errors import TeamRootError, UsageError
from weightshare.trust import roots
from weightshare.trust.teams import Root, Team, read_root
from weightshare.units import MAX_ROOT


@dataclass(frozen=True, slots=True)
class TeamFile:
    """A team's root, and how far its signing has come.

    Attributes:
        path: the file; None if the root is known but was not read from one.
        name: the team's name.
        version: the root's version.
        fingerprint: the team's identity; None if its first root is not here.
        keys: the fingerprints of those who sign releases and roots.
        threshold: how many of them must.
        missing_own: signatures that are still missing of these keys.
        missing_previous: signatures missing of the keys of the version before.
        kept: how many releases of retired keys it keeps good.
        expires: when a channel that rests on it goes stale; releases never do.
    """

    path: Path | None
    name: str
    version: int
    fingerprint: str | None
    keys: tuple[str, ...]
    threshold: int
    missing_own: int
    missing_previous: int
    kept: int
    expires: datetime

    @property
    def complete(self) -> bool:
        """Whether enough keys have signed it."""
        return not self.missing_own and not self.missing_previous

    def to_json(self) -> dict[str, object]:
        """The JSON result."""
        return {
            "team": self.name,
            "publisher": self.fingerprint,
            "root": str(self.path) if self.path else None,
            "version": self.version,
            "keys": list(self.keys),
            "threshold": self.threshold,
            "missing": {"own": self.missing_own, "previous": self.missing_previous},
            "complete": self.complete,
            "keeps": self.kept,
            "expires": self.expires.isoformat().replace("+00:00", "Z"),
        }


def read_file(path: Path) -> bytes:
    """The bytes of a root file.

    Raises:
        UsageError: it cannot be read.
    """
    return read_document(path, MAX_ROOT, hint="Give a root file: NAME.1.root.json.")


def root_in(path: Path) -> Root:
    """The root that a file holds, as it says.

    Raises:
        UsageError: the file cannot be read.
        TeamRootError: it holds no root.
    """
    with naming(path):
        return read_root(read_file(path))


def write_draft(root: Root, previous: Root | None, out: Path | None, home: Home) -> TeamFile:
    """Write a root that nobody has signed yet; never over another file.

    Raises:
        FileInTheWayError: the file is there.
        DiskError: it cannot be written.
    """
    path = (out or Path.cwd()) / f"{root.name}.{root.version}.root.json"
    check_free(path)
    write_document(path, root.raw)
    return described(root, previous, path, home)


def siblings(path: Path, root: Root) -> list[bytes]:
    """The root files of earlier versions that lie beside one."""
    files = [path.with_name(f"{root.name}.{version}.root.json") for version in range(1, root.version)]
    return [read_file(file) for file in files if file.is_file()]


def complete_team(what: str, home: Home) -> tuple[Team, Path | None]:
    """The team that is meant by a root file or a name, proven, and the file if it was one.

    Raises:
        TeamRootError: a root does not hold.
        UsageError: there is no such root or team.
    """
    path = Path(what).expanduser()
    if path.is_file():
        root = root_in(path)
        known = team_of(home, root.name)
        files = [*siblings(path, root), root.raw]
        if known is not None and all(file != known.chain[0].raw for file in files):
            return roots.follow(known, files), path
        return roots.start(files), path
    team = team_of(home, what)
    if team is None:
        raise UsageError(
            f"{what!r} is neither a root file nor a team that you know.",
            hint="Give NAME.1.root.json, or make it known: weightshare trust add NAME NAME.1.root.json",
        )
    return team, None


def previous_of(root: Root, path: Path, home: Home) -> Root | None:
    """The root before one: the file beside it, or the one that is known.

    Raises:
        TeamRootError: it is not to be had.
    """
    if root.version == 1:
        return None
    sibling = path.with_name(f"{root.name}.{root.version - 1}.root.json")
    if sibling.is_file():
        return root_in(sibling)
    known = team_of(home, root.name)
    if known is None or known.version < root.version - 1:
        raise TeamRootError(
            f"Root {root.version - 1} of {root.name} is not here, and root {root.version} cannot be judged without it.",
            hint=f"Put {sibling.name} beside it.",
        )
    return known.at(root.version - 1)


def described(root: Root, previous: Root | None, path: Path | None, home: Home) -> TeamFile:
    """What is to say of a root.

    Raises:
        TeamRootError: it cannot be read.
    """
    lacking = roots.missing(root, previous)
    known = team_of(home, root.name)
    fingerprint = None
    if root.version == 1:
        fingerprint = roots.identity(root)
    elif path is not None and (first := path.with_name(f"{root.name}.1.root.json")).is_file():
        fingerprint = roots.identity(root_in(first))
    elif known is not None:
        fingerprint = known.fingerprint
    return TeamFile(
        path=path.absolute() if path else None,
        name=root.name,
        version=root.version,
        fingerprint=fingerprint,
        keys=tuple(key.fingerprint for key in root.releases.keys),
        threshold=root.releases.threshold,
        missing_own=lacking.own,
        missing_previous=lacking.previous,
        kept=len(root.kept),
        expires=roots.expires(root),
    )
