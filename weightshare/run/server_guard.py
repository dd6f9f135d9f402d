"""Who may ask: a check of the `Host` header and of the key, before the server sees a request.

A server on loopback is reachable by every page in the user's browser, by way of a name that its owner points at
127.0.0.1 ("DNS rebinding"). Such a request carries that name in `Host`, so on loopback only loopback's names pass.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from weightshare.run.server import problem

Scope = Mapping[str, Any]
Asgi = Callable[[Any, Any, Any], Awaitable[None]]


def is_loopback(host: str) -> bool:
    """Whether an address or name means this machine alone."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_of(header: str) -> str:
    """The host of a `Host` header, without port and brackets (RFC 9110, 7.2)."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.rpartition(":")[0] if header.count(":") == 1 else header


def guarded(app: Asgi, *, local: bool, api_key: str | None) -> Asgi:
    """An application that answers 403 to a foreign `Host` where it is `local`, and 401 without the key.

    Args:
        app: the application behind.
        local: whether only loopback's names pass.
        api_key: what `Authorization: Bearer …` must carry; None lets everybody in.
    """

    async def guard(scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        headers = {name.lower(): value for name, value in scope["headers"]}
        host = headers.get(b"host", b"").decode("latin-1")
        given = headers.get(b"authorization", b"")
        if local and not is_loopback(host_of(host)):
            answer = problem(403, "This server answers to this machine's own names alone.")
        elif (
            api_key is not None
            and scope["path"] != "/health"
            and not hmac.compare_digest(given, f"Bearer {api_key}".encode())
        ):
            answer = problem(401, "The request carries no key that is known here.", "authentication_error")
        else:
            answer = app
        await answer(scope, receive, send)

    return guard
