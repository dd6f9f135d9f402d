"""An HTTP server that writes down what it is asked, and sends some who ask elsewhere.

To be called as `python -m tests.integration.canary PORT LOG [ELSEWHERE]`. A line of the log is the address that was
connected to and the path. Whoever asks 203.0.113.7 is sent to `/secret` on 127.0.0.1, and with ELSEWHERE everybody is
sent there.
"""

from __future__ import annotations

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

REDIRECTOR = "203.0.113.7"


def serve(port: int, log: Path, elsewhere: str = "") -> None:
    """Listen on every address until killed."""

    class Canary(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            address = str(self.connection.getsockname()[0])
            with log.open("a") as file:
                file.write(f"{address} {self.path.partition('?')[0]}\n")
            away = bool(elsewhere) or address == REDIRECTOR
            self.send_response(302 if away else 404)
            if away:
                self.send_header("Location", elsewhere or f"http://127.0.0.1:{port}/secret")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("0.0.0.0", port), Canary)
    log.touch()
    server.serve_forever()


if __name__ == "__main__":
    serve(int(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
