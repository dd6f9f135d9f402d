"""Where attacks happen: a victim who runs the real command line, and the hostile side of the wire."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from tests.attacks.forge import ACME, Bait
from tests.attacks.metadata_peer import MetadataPeer
from tests.builders_releases import knows, pin
from tests.cli.helpers import environment, weightshare
from weightshare.api.fetching import fetch
from weightshare.content.home import Home
from weightshare.errors import IntegrityError
from weightshare.manifest.model import MANIFEST_NAME
from weightshare.trust.publishers import Pin
from weightshare.units import GIB

SEEDER = Path(__file__).with_name("hostile_seeder.py")
METADATA_ONLY: frozenset[str] = frozenset()
MANIFEST_ONLY = frozenset({MANIFEST_NAME})


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one command ended."""

    code: int
    stdout: bytes
    stderr: bytes
    seconds: float

    @property
    def value(self) -> dict[str, Any]:
        """The one JSON object on stdout."""
        lines = self.stdout.decode().splitlines()
        assert len(lines) == 1, (lines, self.stderr.decode())
        value = json.loads(lines[0])
        assert isinstance(value, dict)
        return value


class Victim:
    """A user with a home, an empty temporary folder, a place for models, and one publisher they know."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.home = root / "home" / "weightshare"
        self.temporary = root / "temporary"
        self.destination = root / "models" / "tiny"
        for folder in (self.home, self.temporary, self.destination.parent):
            folder.mkdir(parents=True)
        self.knows(pin(ACME))

    def knows(self, *pins: Pin) -> None:
        """Know just these publishers."""
        knows(*pins).save(self.home / "known_publishers")

    def fetch(
        self, source: str, *more: str, ports: Sequence[int], timeout: float = 20, json: bool = True
    ) -> Outcome:
        """Run `weightshare fetch` as a user does."""
        words = ["fetch", source, str(self.destination), "--home", str(self.home), "--network", "local"]
        words += [word for port in ports for word in ("--peer", f"127.0.0.1:{port}")]
        words += ["--timeout", str(timeout), *more, *(["--json"] if json else [])]
        began = time.monotonic()
        done = weightshare(self.root / "home", *words, more={"TMPDIR": str(self.temporary)}, limit=90)
        return Outcome(done.returncode, done.stdout, done.stderr, time.monotonic() - began)

    def refuses_file(self, bait: Bait, file: bytes = b"") -> IntegrityError:
        """Fetch by the bait's `.torrent` in this very process, for what is refused before anybody is asked anything."""
        torrent = self.root / "offered.torrent"
        torrent.write_bytes(file or bait.torrent)
        before = self.holdings()
        with pytest.raises(IntegrityError) as refusal:
            fetch(str(torrent), self.destination, home=Home(self.home), network="local", timeout=1)
        assert refusal.value.exit_code == 4
        assert self.holdings() == before
        assert not self.destination.exists()
        return refusal.value

    def holdings(self) -> dict[str, str]:
        """Every file that the victim has anywhere, by path: its digest."""
        return {
            path.relative_to(self.root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(self.root.rglob("*"))
            if path.is_symlink() or path.is_file()
        }


class Seeder:
    """A process that serves torrents with the real engine; see `hostile_seeder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process = subprocess.Popen(
            [sys.executable, str(SEEDER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(folder),
        )
        self.port: int = self._answer()["port"]
        self.serves: set[bytes] = set()

    def __enter__(self) -> Seeder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=20)
        self._process.stdout.close()

    def serve(self, bait: Bait) -> bool:
        """Serve a torrent; False if the engine would not, or the disk."""
        if bait.v2_hash in self.serves:
            return True
        if sum(size for _, size, _ in bait.files) > GIB:
            return False
        folder = self._folder / bait.v2_hash.hex()
        folder.mkdir(exist_ok=True)
        torrent = folder / "it.torrent"
        torrent.write_bytes(bait.torrent)
        files = []
        for place, (_, size, root) in enumerate(bait.files):
            file = folder / str(place)
            with file.open("wb") as out:
                out.write(bait.contents.get(root or b"", b"")[:size])
                out.truncate(size)
            files.append(str(file))
        if "served" not in self._ask({"serve": str(torrent), "files": files}):
            return False
        self.serves.add(bait.v2_hash)
        return True

    def sent(self, bait: Bait) -> frozenset[str]:
        """The files of which it sent anything, since last asked."""
        paths = [b"/".join(parts).decode("utf-8", "backslashreplace") for parts, _, _ in bait.files]
        return frozenset(paths[place] for place in self._ask({"sent": bait.v2_hash.hex()})["files"])

    def _ask(self, order: dict[str, object]) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        answer = json.loads(self._process.stdout.readline())
        assert isinstance(answer, dict)
        return answer


class Arena:
    """A victim, and those who wait for it."""

    def __init__(self, victim: Victim, seeder: Seeder, peer: MetadataPeer) -> None:
        self.victim = victim
        self.seeder = seeder
        self.peer = peer

    def fetch(
        self, bait: Bait, *more: str, source: str | None = None, timeout: float = 20, json: bool = True
    ) -> Outcome:
        """Serve the bait, and let the victim fetch it by its magnet, or by another source."""
        if self.seeder.serve(bait):
            port = self.seeder.port
            self.seeder.sent(bait)
        else:
            self.peer.tell(bait.v2_hash, bait.info)
            port = self.peer.port
        return self.victim.fetch(source or bait.magnet(), *more, ports=[port], timeout=timeout, json=json)

    def refuses(
        self,
        bait: Bait,
        *more: str,
        code: int,
        error: str,
        says: str,
        sent: frozenset[str] = MANIFEST_ONLY,
        source: str | None = None,
        by_file: bool = False,
        file: bytes = b"",
    ) -> None:
        """Fetch the bait, and hold the refusal against what it must be.

        Args:
            bait: what is served.
            more: options for the command.
            code: the exit code.
            error: the kind of error, as JSON names it.
            says: part of the message.
            sent: the files of which the other side may have sent anything.
            source: what to fetch by; the bait's magnet if empty.
            by_file: fetch by the bait's `.torrent` instead.
            file: another content for that.
        """
        if by_file:
            torrent = self.victim.root / "offered.torrent"
            torrent.write_bytes(file or bait.torrent)
            source = str(torrent)
        before = self.victim.holdings()
        outcome = self.fetch(bait, *more, source=source)
        self.hold(outcome, before, code=code, error=error, says=says)
        if bait.v2_hash in self.seeder.serves:
            assert self.seeder.sent(bait) == sent

    def hold(self, outcome: Outcome, before: dict[str, str], *, code: int, error: str, says: str) -> None:
        """A refusal has the right code, says in one paragraph why, comes at once, and leaves nothing."""
        value = outcome.value
        assert (value["exit_code"], outcome.code, value["error"]) == (code, code, error), value
        assert says in value["message"], value["message"]
        assert value["message"].endswith(".")
        assert value["message"].isprintable(), "one paragraph, nothing in it that drives a terminal"
        assert value["hint"].isprintable()
        assert outcome.seconds < 15, "a refusal waits for nothing"
        self.nothing_kept(before)

    def nothing_kept(self, before: dict[str, str]) -> None:
        """Not one file is new or changed anywhere, and neither the destination nor a record was even begun."""
        victim = self.victim
        assert victim.holdings() == before
        assert not victim.destination.exists()
        assert not list(victim.temporary.iterdir())
        roots = victim.home / "roots"  # of a team that the victim knows already
        places = {path.name for path in victim.home.rglob("*") if roots not in (path, *path.parents)}
        assert places <= {"known_publishers", "gate"}
