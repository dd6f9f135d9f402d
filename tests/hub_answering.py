"""How the stand-in for the Hub answers one request; `hub_server` says what there is and what goes wrong."""

from __future__ import annotations

import gzip
import json
import os
import re
import socket
import struct
import time
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

if TYPE_CHECKING:
    from tests.hub_server import Blob, Habit, HubServer

Headers = dict[str, str]
_STATUSES = {"429": 429, "503": 503, "500": 500, "401": 401, "403": 403, "gated": 403, "404": 404}


class Answering(BaseHTTPRequestHandler):
    """A connection to the hub or to its store."""

    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16
    disable_nagle_algorithm = True
    server_version = "stand-in"
    timeout = 60

    def do_GET(self) -> None:
        """Answer GET, HEAD and POST alike; only the body differs."""
        from tests.hub_server import Asked

        server: Any = self.server
        self.hub: HubServer = server.hub
        parts = urlsplit(self.path)
        where = "store" if server.is_store else "api" if parts.path.startswith("/api/models") else "hub"
        sent = self.headers.get("Authorization")
        with self.hub.lock:
            self.hub.asked.append(Asked(where, self.command, self.path, self.headers.get("Range"), sent))
        if where == "store":
            self._store()
        elif self.hub.token is not None and sent != f"Bearer {self.hub.token}":
            self._refuse(401, "RepoNotFound", "Invalid username or password.")
        elif where == "api":
            self._api(unquote(parts.path), {k: v[0] for k, v in parse_qs(parts.query).items()})
        else:
            self._resolve(parts.path)

    do_HEAD = do_GET  # noqa: N815, http.server wants these names
    do_POST = do_GET  # noqa: N815

    def _api(self, path: str, query: dict[str, str]) -> None:
        hub = self.hub
        length = int(self.headers.get("Content-Length") or 0)
        form = parse_qs(self.rfile.read(length).decode())
        if habit := hub.habit(["api"], path):
            return self._misbehave(habit, None)
        start = f"/api/models/{hub.repo}"
        found = re.fullmatch(
            r"(?:/(revision|tree|paths-info)/([^/]+)(?:/(.+))?|/(refs))?", path.removeprefix(start)
        )
        if not path.startswith(start) or not found:
            return self._refuse(401, "RepoNotFound", "Repository not found")
        what, revision, inside, refs = found.groups()
        if revision not in (None, "main", hub.commit):
            return self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        expand = query.get("expand", form.get("expand", [""])[0]).lower() == "true"
        if refs:
            main = {"name": "main", "ref": "refs/heads/main", "targetCommit": hub.commit}
            return self._json({"branches": [main], "tags": [], "converts": []})
        if what == "tree":
            recursive = query.get("recursive", "").lower() == "true"
            return self._json(hub.tree(inside or "", recursive=recursive, expand=expand))
        if what == "paths-info":
            return self._json(hub.paths(form.get("paths", []), expand=expand))
        return self._json(hub.info(blobs=query.get("blobs", "").lower() == "true"))

    def _resolve(self, path: str) -> None:
        hub = self.hub
        found = re.fullmatch(r"/(.+?)/resolve/([^/]+)/(.+)", path) or re.fullmatch(
            r"/api/resolve-cache/models/(.+?)/([0-9a-f]{40})/(.+)", path
        )
        repo, revision, name = (unquote(text) for text in found.groups()) if found else ("", "", "")
        if repo != hub.repo:
            return self._refuse(401, "RepoNotFound", "Repository not found")
        blob = hub.blobs.get(name)
        if habit := hub.habit(["hub"] if blob is None or blob.large else ["hub", "bytes"], name):
            return self._misbehave(habit, blob)
        commit = {"X-Repo-Commit": hub.commit}
        if revision not in ("main", hub.commit):
            return self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        if blob is None:
            return self._refuse(404, "EntryNotFound", "Entry not found", **commit)
        if blob.large:
            self._redirect(302, hub.signed(blob), blob)
        elif hub.cached and not path.startswith("/api/"):
            self._redirect(307, f"/api/resolve-cache/models/{repo}/{hub.commit}/{blob.path}", blob)
        else:
            self._send(blob, commit | {"ETag": f'"{blob.git}"'})
        return None

    def _store(self) -> None:
        blob = self.hub.signed_blob(self.path)
        if isinstance(blob, str):
            body = f'<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>{blob}</Message></Error>'
            return self._body(403, body.encode(), {"Content-Type": "application/xml"})
        if habit := self.hub.habit(["store", "bytes"], blob.path):
            return self._misbehave(habit, blob)
        self._send(blob, {"ETag": f'"{blob.sha256[:32]}"'})
        return None

    def _redirect(self, status: int, location: str, blob: Blob) -> None:
        headers = {
            "Location": location,
            "Accept-Ranges": "bytes",
            "X-Repo-Commit": self.hub.commit,
            "X-Linked-Size": str(blob.size),
            "X-Linked-ETag": f'"{blob.sha256 if blob.large else blob.git}"',
            "ETag": f'"{blob.git}"',
            "Vary": "Origin, Accept",
        }
        self._body(status, f"Found. Redirecting to {location}".encode(), headers)

    def _send(self, blob: Blob, headers: Headers, habit: Habit | None = None) -> None:
        """The bytes of a file, or the range of it that was asked."""
        name = habit.name if habit else ""
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        begin, end = 0, blob.size
        if asked:
            begin, end = int(asked[1]), min(int(asked[2]) + 1 if asked[2] else blob.size, blob.size)
        status = 206 if asked and name != "whole" else 200
        if begin >= end and asked:
            return self._body(416, b"", {"Content-Range": f"bytes */{blob.size}"})
        if status == 200:
            begin, end = 0, blob.size
        if name == "wrong-offset":
            begin, end = (begin - 1, end - 1) if begin else (begin + 1, min(end + 1, blob.size))
        said = begin + (1 if name == "wrong-content-range" else 0)
        headers |= {"Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
        if status == 206 and name != "no-content-range":
            headers["Content-Range"] = f"bytes {said}-{end - 1 + said - begin}/{blob.size}"
        if name == "changed-etag":
            headers["ETag"] = f'"{time.time_ns():x}"'
        with blob.file.open("rb") as file:
            if name in ("gzip", "wrong-bytes"):
                file.seek(begin)
                body = file.read(end - begin)
                if name == "gzip":
                    body, headers["Content-Encoding"] = gzip.compress(body, 1), "gzip"
                else:
                    body = bytes(byte ^ 0xFF for byte in body)
                return self._body(status, body, headers)
            self._head(status, end - begin, headers)
            if self.command == "HEAD":
                return None
            if name in ("truncated", "reset"):
                self._copy(file.fileno(), begin, (end - begin + 1) // 2)
                if name == "reset":
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
            elif name in ("slow", "silent"):
                file.seek(begin)
                pause = float(habit.value or 1) if habit else 1
                while name == "slow" and (byte := file.read(1)) and file.tell() <= end:
                    self.connection.sendall(byte)
                    time.sleep(pause)
                time.sleep(pause)
                self.close_connection = True
            else:
                self._copy(file.fileno(), begin, end - begin)
        return None

    def _copy(self, file: int, begin: int, length: int) -> None:
        """By `sendfile` where the system has it."""
        while length:
            if hasattr(os, "sendfile"):
                self._writable()
                sent = os.sendfile(self.connection.fileno(), file, begin, min(length, 1 << 30))
            else:
                chunk = os.pread(file, min(length, 1 << 20), begin)
                self.connection.sendall(chunk)
                sent = len(chunk)
            if not sent:
                raise OSError("the file became shorter")
            begin += sent
            length -= sent

    def _writable(self) -> None:
        """A socket with a timeout does not block, and `sendfile` would say so: the timeout ends with the headers."""
        if self.connection.gettimeout() is not None:
            self.connection.settimeout(None)

    def _misbehave(self, habit: Habit, blob: Blob | None) -> None:
        from tests.hub_server import http_date

        name = habit.name
        if name in _STATUSES:
            again = http_date(1) if habit.value == "date" else habit.value
            codes = {"gated": "GatedRepo", "404": "EntryNotFound"}
            extra = {"Retry-After": again} if again else {}
            self._refuse(_STATUSES[name], codes.get(name, ""), f"said {_STATUSES[name]}", **extra)
        elif name == "loop":
            self._body(302, b"", {"Location": self.path})
        elif name == "mute":
            time.sleep(float(habit.value or 1))
            self.close_connection = True
        elif blob is not None:
            self._send(blob, {"ETag": f'"{blob.sha256[:32]}"', "X-Repo-Commit": self.hub.commit}, habit)

    def _refuse(self, status: int, code: str, message: str, **extra: str) -> None:
        headers = {"X-Error-Message": message} | {
            name.replace("_", "-"): value for name, value in extra.items()
        }
        if code:
            headers["X-Error-Code"] = code
        self._body(status, json.dumps({"error": message}).encode(), headers)

    def _json(self, value: object) -> None:
        self._body(200, json.dumps(value).encode(), {"Content-Type": "application/json; charset=utf-8"})

    def _body(self, status: int, body: bytes, headers: Headers) -> None:
        self._head(status, len(body), headers)
        if self.command != "HEAD":
            self.wfile.write(body)
            self.wfile.flush()

    def _head(self, status: int, length: int, headers: Headers) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
