"""A server's socket and its life: bound before the weights are loaded, listening after, and ended from outside."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any

from weightshare.errors import ListenError, LoadError

_GRACE = 3
"""Seconds that answers under way have once the end was asked for."""
_LOOK = 0.5
"""Seconds between two looks at the files behind the model."""


def bound_socket(host: str, port: int) -> socket.socket:
    """A socket that has its port and does not listen yet: nobody is answered, and nobody else gets the port.

    Args:
        host: an address or name of this machine.
        port: 0 takes any free one.

    Raises:
        ListenError: the address is taken, or is none of this machine's. Facts: `port`.
    """
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        taken = socket.socket(family, kind, proto)
    except OSError as error:
        raise _refused(host, port, error) from error
    try:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(address)
    except OSError as error:
        taken.close()
        raise _refused(host, port, error) from error
    return taken


def serve(
    app: Any,
    taken: socket.socket,
    *,
    on_listening: Callable[[], None],
    wait: Callable[[float], bool],
    check: Callable[[], None],
    verbose: bool = False,
) -> None:
    """Answer requests until told to stop.

    uvicorn runs in a thread of its own, where it leaves the process's signals alone.

    Args:
        app: an ASGI application.
        taken: the socket, bound; it is closed in the end.
        on_listening: called once requests are answered.
        wait: waits so many seconds at most, and says whether to stop.
        check: called every now and then; what it raises ends the server.
        verbose: log requests on stderr.

    Raises:
        ListenError: somebody else took the port meanwhile.
        LoadError: the server does not start.
    """
    import uvicorn

    host, port = taken.getsockname()[:2]
    try:
        taken.listen(128)
    except OSError as error:
        taken.close()
        raise _refused(host, port, error) from error
    config = uvicorn.Config(
        app,
        log_config=None,  # its own would put requests on stdout
        # An answer that is cut off at the end is a stack of frames to it; errors are answers of ours.
        log_level="info" if verbose else "critical",
        access_log=verbose,
        timeout_graceful_shutdown=_GRACE,
        server_header=False,
    )
    if verbose:
        _log_to_stderr()
    server = uvicorn.Server(config)
    thread = threading.Thread(
        target=lambda: asyncio.run(server.serve(sockets=[taken])), name="weightshare-serve", daemon=True
    )
    thread.start()
    try:
        while thread.is_alive() and not server.started:
            if wait(0.02):
                return
        if not thread.is_alive():
            raise LoadError(
                "The server did not start.", hint="`--verbose` shows what it says; report it if it is a bug."
            )
        on_listening()
        while thread.is_alive() and not wait(_LOOK):
            check()
    finally:
        server.should_exit = True
        thread.join(_GRACE + 5)
        taken.close()


def _log_to_stderr() -> None:
    log = logging.getLogger("uvicorn")
    log.addHandler(logging.StreamHandler(sys.stderr))
    log.propagate = False


def _refused(host: str, port: int, error: OSError) -> ListenError:
    where = f"Port {port}" if port else f"A port of {host}"
    return ListenError(
        f"{where} cannot be listened on: {(error.strerror or str(error)).lower()} ({host}).",
        hint="Choose another with --port, or --port 0 for any free one.",
        port=port,
    )
