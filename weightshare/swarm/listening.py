"""The first moments of a session: until it listens, or is known not to."""

from __future__ import annotations

import time

import libtorrent as lt

from weightshare.errors import ListenError
from weightshare.swarm.alerts import translate
from weightshare.swarm.events import Event, ListenFailed

_WAIT = 3.0


def await_listening(session: lt.session, port: int | None) -> list[Event]:
    """Wait until the engine listens, or has given up; returns what else happened meanwhile.

    Args:
        session: the engine's.
        port: the one that was asked for, if one was.

    Raises:
        ListenError: it does not listen on that port.
    """
    early: list[Event] = []
    deadline = time.monotonic() + _WAIT
    failed = ""
    while not session.is_listening() and time.monotonic() < deadline:
        session.wait_for_alert(50)
        for event in translate(session.pop_alerts()):
            if isinstance(event, ListenFailed):
                failed = event.reason
            else:
                early.append(event)
    if port and (not session.is_listening() or session.listen_port() != port):
        raise ListenError(
            f"Port {port} cannot be listened on: {failed or 'it is in use'}.",
            hint="Choose another with --port, or leave the option out.",
            port=port,
        )
    return early
