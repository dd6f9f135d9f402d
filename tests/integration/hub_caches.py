"""A Hub cache that huggingface_hub itself has filled, and what a test says of it afterwards."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.builders_checkpoints import digest
from tests.cli.helpers import environment, weightshare
from tests.hub_server import HubServer
from weightshare.api.hub_publishing import publish_from_hub
from weightshare.content.home import Home
from weightshare.errors import WeightshareError
from weightshare.hub.settings import HubSettings

_DOWNLOAD = "import sys; from huggingface_hub import snapshot_download as d; print(d(sys.argv[1]))"


@dataclass(frozen=True)
class Cache:
    """One user's home with a Hub cache in it.

    Attributes:
        home: the user's, with a key of their own.
        url: of the Hub; None leaves the user offline.
    """

    home: Path
    url: str | None
    repo: str
    commit: str

    @property
    def hub(self) -> Path:
        """The cache."""
        return self.home / "hf" / "hub"

    @property
    def repository(self) -> Path:
        return self.hub / f"models--{self.repo.replace('/', '--')}"

    @property
    def snapshot(self) -> Path:
        return self.repository / "snapshots" / self.commit

    @property
    def variables(self) -> dict[str, str]:
        """What says where the Hub and the cache are."""
        more = {"HF_HOME": str(self.home / "hf")}
        return more | (
            {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": self.url} if self.url else {"HF_HUB_OFFLINE": "1"}
        )

    def offline(self) -> Cache:
        """The same user without the Hub."""
        return Cache(self.home, None, self.repo, self.commit)

    def download(self, **more: str) -> None:
        """Let huggingface_hub, unmodified, fill the cache."""
        env = environment(self.home, {**self.variables, **more})
        subprocess.run(
            [sys.executable, "-c", _DOWNLOAD, self.repo], env=env, check=True, capture_output=True, timeout=60
        )

    def run(self, *words: str, status: int = 0, more: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Run one command with `--json`; returns its object, or the error's."""
        done = weightshare(self.home, *words, "--json", more={**self.variables, **(more or {})})
        assert done.returncode == status, done.stderr.decode() + done.stdout.decode()
        value = json.loads(done.stdout.decode().splitlines()[-1])
        assert isinstance(value, dict)
        return value

    def publish(
        self, *, status: int = 0, more: Mapping[str, str] | None = None, **asked: Any
    ) -> dict[str, Any]:
        """The same as `run("publish", "--hub", …)`, in this process; returns the result's JSON, or the error's."""
        settings = HubSettings.from_environment({**self.variables, "HOME": str(self.home), **(more or {})})
        home = Home.default(self.home / "weightshare")
        if status:
            with pytest.raises(WeightshareError) as raised:
                publish_from_hub(self.repo, network="local", settings=settings, home=home, **asked)
            error = raised.value
            assert error.exit_code == status, error
            return {**error.facts, "error": error.kind, "message": error.message, "hint": error.hint}
        made = publish_from_hub(self.repo, network="local", settings=settings, home=home, **asked)
        value = json.loads(json.dumps(made.to_json()))
        assert isinstance(value, dict)
        return value

    def state(self) -> dict[str, tuple[object, ...]]:
        """Everything in the cache: kind, inode, modification time, and the bytes or where a link leads."""
        found: dict[str, tuple[object, ...]] = {}
        for folder, folders, names in os.walk(self.hub):
            for name in (".", *folders, *names):
                place = Path(folder, name)
                status = place.lstat()
                what = os.readlink(place) if place.is_symlink() else digest(place) if place.is_file() else ""
                found[str(place)] = (status.st_mode, status.st_ino, status.st_mtime_ns, what)
        return found


def filled(template: Path, home: Path, hub: HubServer) -> Cache:
    """A copy of a home whose cache was downloaded once."""
    shutil.copytree(template, home, symlinks=True)
    return Cache(home, hub.url, hub.repo, hub.commit)


def read_only(folder: Path) -> tuple[str, ...]:
    """The words before a command that see a folder mounted read-only, for itself and what it starts."""
    script = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
    return ("unshare", "--mount", "sh", "-c", script, str(folder))


def can_mount() -> bool:
    """Whether a mount of one's own can be had here."""
    if sys.platform != "linux" or os.geteuid() != 0 or not shutil.which("unshare"):
        return False
    return subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode == 0
