"""huggingface_hub's download in a process of its own, which can be ended.

Its threads each finish the file they are at, whatever interrupts the caller; of a large shard that takes an hour. And
it reads its environment once, when it is imported: a fresh process reads what holds for this call.

The request comes on stdin as a line of JSON, the answer goes to stdout as another; stdin stays open as long as the
parent lives. Bars, if wanted, are drawn on stderr.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from weightshare import errors
from weightshare.errors import WeightshareError, WorkerError
from weightshare.hub.cache import HubName
from weightshare.hub.settings import HubSettings
from weightshare.version import __version__

_ROOT = str(Path(__file__).resolve().parents[2])
# Last in the path, and without the current folder: nothing there can stand in for the standard library.
_COMMAND = (
    "import sys; sys.path.append(sys.argv[1]); from weightshare.hub import downloading; downloading.answer()"
)


def download(settings: HubSettings, name: HubName, *, bars: bool) -> Path:
    """Have huggingface_hub bring what the cache lacks of a revision, as `hf download` does.

    Args:
        settings: where from and where to.
        name: the repository and its revision; a branch or tag is written down in the cache's `refs`.
        bars: whether it may draw its progress on stderr.

    Returns:
        The folder of the snapshot.

    Raises:
        HubUnreachableError, DownloadError: the Hub does not answer, or does not give it; what arrived whole stays.
        DiskError: the cache cannot be written.
        WorkerError: the process died.
    """
    request = {
        "endpoint": settings.endpoint,
        "cache": str(settings.cache),
        "token": settings.token,
        "repo": name.repo,
        "revision": name.revision,
    }
    with subprocess.Popen(  # noqa: S603 - our own interpreter and our own package
        [sys.executable, "-P", "-c", _COMMAND, _ROOT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=_environment(settings, bars=bars),
    ) as child:
        try:
            if child.stdin is None or child.stdout is None:
                raise AssertionError("both are pipes")
            child.stdin.write(json.dumps(request).encode() + b"\n")
            child.stdin.flush()
            line = child.stdout.readline()
        except BrokenPipeError:
            line = b""
        finally:
            child.kill()
            if child.stdin is not None:
                child.stdin.close()
    return _read(line)


def _environment(settings: HubSettings, *, bars: bool) -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if name != "TRANSFORMERS_OFFLINE"}
    env |= {
        "HF_ENDPOINT": settings.endpoint,
        "HF_HUB_OFFLINE": "0",
    }
    if not bars:
        env["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    return env


def _read(line: bytes) -> Path:
    said: Mapping[str, str] = json.loads(line) if line.endswith(b"\n") else {}
    if "folder" in said:
        return Path(said["folder"])
    kind = getattr(errors, said.get("error", ""), None)
    if isinstance(kind, type) and issubclass(kind, WeightshareError):
        facts = {key: value for key, value in said.items() if key not in ("error", "message", "hint")}
        raise kind(said["message"], hint=said["hint"], **facts)
    raise WorkerError(
        "The process that downloads from the Hub ended before it was done.",
        hint="Was it killed, or out of memory? The same command goes on with the files that are whole.",
    )


def answer() -> None:
    """Answer one request, in the process that was started for it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # to end at once, and without a traceback
    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    name = HubName(request["repo"], request["revision"])
    settings = HubSettings(request["endpoint"], Path(request["cache"]), request["token"])
    try:
        said: dict[str, object] = {"folder": str(_bring(settings, name))}
    except WeightshareError as error:
        said = {**error.facts, "error": type(error).__name__, "message": error.message, "hint": error.hint}
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


def _bring(settings: HubSettings, name: HubName) -> Path:
    from huggingface_hub import snapshot_download

    from weightshare.hub.asking import translated

    with translated(settings, name):
        return Path(
            snapshot_download(
                name.repo,
                revision=name.revision,
                cache_dir=settings.cache,
                endpoint=settings.endpoint,
                token=settings.token or False,
                library_name="weightshare",
                library_version=__version__,
            )
        )


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)
