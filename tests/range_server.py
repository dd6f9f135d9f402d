"""A web seed on loopback: a folder by HTTP, with ranges, or with one of the habits that break them."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

Habit = Literal["", "ignores", "elsewhere", "rotten"]


@contextmanager
def range_server(root: Path, habit: Habit = "") -> Iterator[str]:
    """The server's URL, with a slash at its end.

    Args:
        root: what is served.
        habit: `ignores` answers 200 and the whole file, `elsewhere` says and sends another range than asked for,
            `rotten` flips a bit.
    """

    class Files(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = root / unquote(self.path).lstrip("/")
            if not path.is_file():
                self.send_error(404)
                return
            data = path.read_bytes()
            match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            if match is None or habit == "ignores":
                self._answer(200, data)
                return
            begin, end = int(match[1]), min(int(match[2]), len(data) - 1)
            if habit == "elsewhere":
                begin, end = 0, end - begin
            part = bytearray(data[begin : end + 1])
            if habit == "rotten":
                part[0] ^= 1
            self._answer(206, bytes(part), f"bytes {begin}-{end}/{len(data)}")

        def _answer(self, status: int, body: bytes, span: str = "") -> None:
            self.send_response(status)
            if span:
                self.send_header("Content-Range", span)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Files)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
