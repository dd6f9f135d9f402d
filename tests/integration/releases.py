"""A maintainer who publishes, and what a user does with it: through the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.builders_checkpoints import contents
from tests.cli.helpers import result
from weightshare.content.store import STAGING
from weightshare.manifest.model import MANIFEST_NAME


@dataclass(frozen=True)
class Published:
    """A release as its maintainer has it.

    Attributes:
        home: the maintainer's.
        folder: what was published.
        facts: what `publish --json` said.
    """

    home: Path
    folder: Path
    facts: Mapping[str, Any]

    @property
    def magnet(self) -> str:
        return str(self.facts["magnet"])

    @property
    def trust(self) -> tuple[str, str]:
        """The words that trust its publisher."""
        return "--trust", str(self.facts["publisher"])

    @property
    def size(self) -> int:
        return int(self.facts["bytes"])


def publish(home: Path, folder: Path, *words: str, name: str = "acme/m7b") -> Published:
    """Publish a folder from a home, which gets a key if it has none."""
    home.mkdir(exist_ok=True)
    if not (home / "weightshare" / "keys").exists():
        result(home, "keys", "new", "acme")
    return Published(home, folder, result(home, "publish", str(folder), "--name", name, *words))


def fetch(home: Path, published: Published, *words: str, status: int = 0, source: str = "") -> dict[str, Any]:
    """Fetch a release into a user's home, made if absent; `source` is the magnet by default."""
    home.mkdir(exist_ok=True)
    return result(home, "fetch", source or published.magnet, *published.trust, *words, status=status)


def assert_whole(folder: Path, published: Published) -> None:
    """The folder holds the release's files, the signed manifest, and nothing else."""
    assert contents(folder) == contents(published.folder), folder
    assert (folder / MANIFEST_NAME).is_file()
    assert not (folder / STAGING).exists()
