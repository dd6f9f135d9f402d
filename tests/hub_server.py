"""A local stand-in for the Hugging Face Hub, with its habits: one folder as one repository at one commit.

Two servers. The hub answers the API (`model_info`, `tree`, `paths-info`, `refs`) and `/{repo}/resolve/{rev}/{path}`:
small files come from it directly, large ones as a 302 to the second server, the store, which is another origin and
serves signed URLs that expire. A `Habit` switches on one of the ways in which such servers misbehave.

In a test: `with serve(folder, "org/model") as hub: hub.url`. By hand:
`python -m tests.hub_server FOLDER --repo org/model [--habit 429:2=1]`, which prints its URL and ends with stdin.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import json
import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from tests.hub_answering import Answering

SECRET = b"the store's"
LARGE_SUFFIXES = frozenset({".safetensors", ".gguf", ".bin", ".pth", ".model", ".msgpack", ".onnx"})
LARGE = 10_000_000
"""Bytes from which the Hub keeps a file in large storage whatever its name."""

HABITS = (
    "429",  # value: Retry-After in seconds, or "date" for an HTTP-date one second ahead
    "503",  # value: Retry-After, or absent
    "500",
    "401",
    "403",
    "gated",  # 403 with X-Error-Code: GatedRepo
    "404",
    "wrong-content-range",  # the header names other bytes than those asked and sent
    "no-content-range",
    "wrong-offset",  # 206 of other bytes, and says so
    "whole",  # 200 with the whole file to a range request
    "truncated",  # the connection closes half-way
    "changed-etag",  # another ETag at each request
    "gzip",  # Content-Encoding: gzip, asked or not
    "slow",  # value: seconds between two bytes
    "silent",  # the headers, then nothing; value: seconds
    "mute",  # not even headers; value: seconds
    "loop",  # redirects to itself
    "reset",  # the connection is reset half-way
    "wrong-bytes",  # of the right length
)


@dataclass
class Habit:
    """One way to misbehave.

    Attributes:
        name: one of HABITS.
        times: how many requests it befalls; then it is over. Infinite by default.
        value: what the habit takes, see HABITS.
        at: "api", "hub" (resolve), "store", or "bytes": wherever a file's bytes are sent.
        path: only this file of the repository.
    """

    name: str
    times: float = float("inf")
    value: str = ""
    at: str = "bytes"
    path: str | None = None

    def __post_init__(self) -> None:
        if self.name not in HABITS:
            raise ValueError(f"no habit {self.name}")


@dataclass(frozen=True)
class Asked:
    """A request as it came: at which server, and with what."""

    at: str
    method: str
    path: str
    range: str | None
    authorization: str | None


@dataclass(frozen=True)
class Blob:
    """A file of the repository."""

    path: str
    file: Path
    size: int
    sha256: str
    git: str
    large: bool


@dataclass
class HubServer:
    """The folder, the two servers, and what is to go wrong.

    Attributes:
        commit: 40 hex, also known as `main`.
        token: what `Authorization: Bearer` must say for any answer; None for a public repository.
        expires: seconds for which a signed URL holds.
        cached: small files answer 307 to a path of the same host first, as the Hub has done since 2025.
        elsewhere: where large files are instead of our own store: another server that has the same folder.
        habits: what is switched on; may be changed at any time.
        asked: every request so far.
    """

    repo: str
    commit: str
    blobs: dict[str, Blob]
    token: str | None = None
    expires: float = 3600
    cached: bool = False
    elsewhere: str | None = None
    habits: list[Habit] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    url: str = ""
    store_url: str = ""
    lock: Lock = field(default_factory=Lock, repr=False)

    def habit(self, at: Sequence[str], path: str) -> Habit | None:
        """The habit that befalls a request now; counted as used."""
        with self.lock:
            for habit in self.habits:
                if habit.at in at and habit.times > 0 and habit.path in (None, path):
                    habit.times -= 1
                    return habit
        return None

    def resolve(self, path: str, revision: str = "main") -> str:
        """The URL of a file."""
        return f"{self.url}/{self.repo}/resolve/{revision}/{quote(path)}"

    def count(self, at: str, method: str = "GET") -> int:
        """Requests so far at one of the servers."""
        return sum(1 for asked in self.asked if asked.at == at and asked.method == method)

    def signed(self, blob: Blob) -> str:
        """A URL at the store that holds for `expires` seconds."""
        until = f"{time.time() + self.expires:.3f}".rstrip("0").rstrip(".")
        signature = _signature(blob.sha256, until)
        name = quote(f'inline; filename="{blob.file.name}";')
        place = (
            f"{self.elsewhere}/{quote(blob.path)}" if self.elsewhere else f"{self.store_url}/{blob.sha256}"
        )
        return (
            f"{place}?response-content-disposition={name}"
            f"&Expires={until}&Signature={signature}&Key-Pair-Id=LOCAL"
        )

    def signed_blob(self, target: str) -> Blob | str:
        """The blob that a signed URL names, or why it is refused."""
        parts = urlsplit(target)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        sha256 = parts.path.strip("/")
        until = query.get("Expires", "0")
        if not hmac.compare_digest(query.get("Signature", ""), _signature(sha256, until)):
            return "Missing Key-Pair-Id query parameter or cookie value"
        if time.time() > float(until):
            return "Request has expired"
        return next(blob for blob in self.blobs.values() if blob.sha256 == sha256)

    def info(self, *, blobs: bool) -> dict[str, Any]:
        """What `model_info` gets."""
        licence = self._licence()
        return {
            "_id": "0" * 24,
            "id": self.repo,
            "modelId": self.repo,
            "author": self.repo.partition("/")[0],
            "sha": self.commit,
            "lastModified": "2026-01-02T03:04:05.000Z",
            "createdAt": "2026-01-02T03:04:05.000Z",
            "private": False,
            "gated": False,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": [f"license:{licence}"] if licence else [],
            "cardData": {"license": licence} if licence else {},
            "siblings": [_sibling(blob, blobs) for blob in self.blobs.values()],
            "spaces": [],
        }

    def tree(self, folder: str, *, recursive: bool, expand: bool) -> list[dict[str, Any]]:
        """What `list_repo_tree` gets: files, and the folders between."""
        start = f"{folder}/" if folder else ""
        found: dict[str, dict[str, Any]] = {}
        for blob in self.blobs.values():
            if not blob.path.startswith(start):
                continue
            parts = blob.path[len(start) :].split("/")
            for depth in range(1, len(parts)):
                if recursive or depth == 1:
                    found.setdefault(start + "/".join(parts[:depth]), self._folder(start, parts[:depth]))
            if recursive or len(parts) == 1:
                found[blob.path] = self.entry(blob, expand=expand)
        return [found[path] for path in sorted(found)]

    def paths(self, asked: Sequence[str], *, expand: bool) -> list[dict[str, Any]]:
        """What `get_paths_info` gets: those that exist."""
        return [self.entry(self.blobs[path], expand=expand) for path in asked if path in self.blobs]

    def entry(self, blob: Blob, *, expand: bool) -> dict[str, Any]:
        """One file of a tree."""
        made: dict[str, Any] = {"type": "file", "oid": blob.git, "size": blob.size, "path": blob.path}
        if blob.large:
            made["lfs"] = {
                "oid": blob.sha256,
                "size": blob.size,
                "pointerSize": len(_pointer(blob.sha256, blob.size)),
            }
        if expand:
            made["lastCommit"] = {"id": self.commit, "title": "Upload", "date": "2026-01-02T03:04:05.000Z"}
            made["securityFileStatus"] = {"status": "safe", "avScan": None, "pickleImportScan": None}
        return made

    def _folder(self, start: str, parts: list[str]) -> dict[str, Any]:
        path = start + "/".join(parts)
        return {"type": "directory", "oid": hashlib.sha1(path.encode()).hexdigest(), "size": 0, "path": path}

    def _licence(self) -> str | None:
        readme = self.blobs.get("README.md")
        found = readme and re.search(r"\A---\n(?:.*\n)*?license: *(\S+)", readme.file.read_text())
        return found[1] if found else None


@contextmanager
def serve(
    folder: Path,
    repo: str,
    *,
    commit: str | None = None,
    habits: Sequence[Habit] = (),
    token: str | None = None,
    expires: float = 3600,
    cached: bool = False,
    elsewhere: str | None = None,
    large: int = LARGE,
    host: str = "127.0.0.1",
) -> Iterator[HubServer]:
    """Serve a folder until the block ends.

    Args:
        folder: its files are the repository; symbolic links to files are followed.
        repo: `org/model`.
        commit: 40 hex; by default made from the files.
        habits: see Habit.
        token: demand it.
        expires: seconds for which a signed URL holds.
        cached: see HubServer.
        elsewhere: see HubServer.
        large: bytes from which a file is kept in large storage; those with a name of weights always are.
        host: address to listen at.
    """
    blobs = {blob.path: blob for blob in _read(folder, large)}
    made = hashlib.sha1("".join(f"{blob.git} {blob.path}\n" for blob in blobs.values()).encode()).hexdigest()
    hub = HubServer(repo, commit or made, blobs, token, expires, cached, elsewhere, list(habits))
    servers = [_Server((host, 0), Answering) for _ in range(2)]
    hub.url, hub.store_url = (f"http://{host}:{server.server_address[1]}" for server in servers)
    threads = []
    for server, store in zip(servers, (False, True), strict=True):
        server.hub, server.is_store = hub, store
        threads.append(Thread(target=server.serve_forever, args=(0.02,), daemon=True))
        threads[-1].start()
    try:
        yield hub
    finally:
        for server, thread in zip(servers, threads, strict=True):
            server.shutdown()
            thread.join()
            server.server_close()


class _Server(ThreadingHTTPServer):
    """One of the two; its threads never keep the process."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    hub: HubServer
    is_store: bool

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no news."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def http_date(ahead: float) -> str:
    """An HTTP-date so many seconds from now (RFC 9110, 5.6.7)."""
    return formatdate(time.time() + ahead, usegmt=True)


def _read(folder: Path, large: int) -> Iterator[Blob]:
    for file in sorted(folder.rglob("*")):
        path = file.relative_to(folder).as_posix()
        if not file.is_file() or path.startswith(".cache/"):
            continue
        size = file.stat().st_size
        with file.open("rb") as opened:
            sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
        is_large = size >= large or file.suffix in LARGE_SUFFIXES
        content = _pointer(sha256, size) if is_large else file.read_bytes()
        git = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        yield Blob(path, file, size, sha256, git, is_large)


def _pointer(sha256: str, size: int) -> bytes:
    """What git holds in place of a large file (git-lfs, docs/spec.md)."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


def _sibling(blob: Blob, blobs: bool) -> dict[str, Any]:
    made: dict[str, Any] = {"rfilename": blob.path}
    if blobs:
        made |= {"size": blob.size, "blobId": blob.git}
        if blob.large:
            pointer = len(_pointer(blob.sha256, blob.size))
            made["lfs"] = {"size": blob.size, "sha256": blob.sha256, "pointerSize": pointer}
    return made


def _signature(sha256: str, until: str) -> str:
    return hmac.new(SECRET, f"{sha256} {until}".encode(), "sha256").hexdigest()


def _habit(text: str) -> Habit:
    """`NAME[:TIMES][=VALUE][@WHERE]`."""
    found = re.fullmatch(r"([\w-]+?)(?::(\d+))?(?:=([^@]*))?(?:@(\w+))?", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text} is no habit")
    name, times, value, at = found.groups()
    return Habit(name, float(times or "inf"), value or "", at or "bytes")


def main() -> None:
    """Serve a folder, print where as JSON, and end when stdin does."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repo", required=True, metavar="ORG/MODEL")
    parser.add_argument("--commit", metavar="40HEX")
    parser.add_argument("--token")
    parser.add_argument("--expires", type=float, default=3600, metavar="SECONDS")
    parser.add_argument("--cached", action="store_true")
    parser.add_argument("--elsewhere", metavar="URL", help="where large files are, if not here")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--habit", type=_habit, action="append", default=[], help=", ".join(HABITS))
    asked = parser.parse_args()
    with serve(
        asked.folder,
        asked.repo,
        commit=asked.commit,
        habits=asked.habit,
        token=asked.token,
        expires=asked.expires,
        cached=asked.cached,
        elsewhere=asked.elsewhere,
        host=asked.host,
    ) as hub:
        found = {"url": hub.url, "store": hub.elsewhere or hub.store_url, "commit": hub.commit}
        print(
            json.dumps(found | {"sha256": {path: blob.sha256 for path, blob in hub.blobs.items()}}),
            flush=True,
        )
        sys.stdin.read()


if __name__ == "__main__":
    main()
