"""Signs with a key that an ssh-agent holds; the private half never leaves the agent.

The agent is the process behind `SSH_AUTH_SOCK`: OpenSSH's own, a desktop's keyring, a password manager, gpg-agent.
Its answers are read as strictly as a stranger's: bounded in size and time, of one length, and a signature counts
only after it was checked. Source: draft-ietf-sshm-ssh-agent, sections 3 (messages) and 5 (numbers).
"""

from __future__ import annotations

import os
import select
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from weightshare.errors import AgentError, KeyFileError
from weightshare.manifest.text import escape, quoted
from weightshare.trust.key_types import KEY_TYPE, describe_type
from weightshare.trust.keys import PublicKey
from weightshare.trust.wire import Reader, WireError, string, uint32

SOCKET_VARIABLE = "SSH_AUTH_SOCK"
CONNECT_TIMEOUT = 5.0
"""Seconds to wait for a connection, and for the list of keys."""
SIGN_TIMEOUT = 60.0
"""Seconds to wait for a signature: somebody may have to be asked, or to touch a token."""

_PATIENCE = 1.0  # seconds of silence before the user is told what is waited for
_MAX_ANSWER = 256 * 1024  # what OpenSSH's agent takes and gives at most
_MAX_KEYS = 1000
_FAILURE, _LIST, _KEYS, _SIGN, _SIGNATURE = 5, 11, 12, 13, 14

_START_HINT = (
    'Start one with `eval "$(ssh-agent)"` and give it the key with `ssh-add FILE`, '
    "or name a private key file with --key."
)
_ADD_HINT = "Give it the key with `ssh-add FILE`; `ssh-add -l` shows what it holds."

Waiting = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Listing:
    """What an agent holds.

    Attributes:
        keys: the Ed25519 keys, as they may be used.
        others: what else there is, each with the reason why it does not serve.
    """

    keys: tuple[PublicKey, ...]
    others: tuple[str, ...]


class AgentSigner:
    """Signs with a key that the agent holds. Make one with `signer_for` or `only_signer`.

    Args:
        key: which of the agent's keys.
        waiting: told what is waited for, if the agent takes its time.
    """

    def __init__(self, key: PublicKey, waiting: Waiting | None = None) -> None:
        self._public_key = key
        self._waiting = waiting

    @property
    def public_key(self) -> PublicKey:
        """The key that its signatures are checked with."""
        return self._public_key

    def sign(self, message: bytes) -> bytes:
        """A raw Ed25519 signature (64 bytes) over the message.

        Raises:
            AgentError: the agent is gone, declines, takes longer than a minute, or gives something else.
        """
        key = self._public_key
        request = bytes([_SIGN]) + string(key.wire) + string(message) + uint32(0)
        try:
            answer = Reader(_ask(request, SIGN_TIMEOUT, self._tell))
            if _kind(answer) == _FAILURE:
                raise _declined(key)
            signature = Reader(answer.string())
            answer.end()
            name, raw = signature.string(), signature.string()
            signature.end()
        except WireError as error:
            raise _malformed(str(error)) from error
        if name != KEY_TYPE.encode():
            raise _malformed(f"a signature of the type {quoted(name.decode('utf-8', 'replace'), 60)}")
        if not key.verify(raw, message):
            raise _malformed(f"a signature of {len(raw):,} bytes that does not hold for {key.fingerprint}")
        return raw

    def _tell(self) -> None:
        if self._waiting is not None:
            key = self._public_key
            self._waiting(
                f"Waiting up to {SIGN_TIMEOUT:.0f} s for the ssh-agent to sign with {_shown(key)}; "
                "it may ask you for a confirmation, a PIN or a touch."
            )


def list_agent() -> Listing:
    """What the agent holds.

    Raises:
        AgentError: there is none, or it does not answer as one.
    """
    try:
        answer = Reader(_ask(bytes([_LIST]), CONNECT_TIMEOUT))
        if _kind(answer) != _KEYS:
            raise _malformed("no list of keys")
        count = answer.uint32()
        if count > _MAX_KEYS:
            raise _malformed(f"a list of {count:,} keys")
        entries = [(answer.string(), answer.string()) for _ in range(count)]
        answer.end()
    except WireError as error:
        raise _malformed(str(error)) from error
    keys: dict[PublicKey, None] = {}
    others = []
    for wire, comment in entries:
        text = escape(comment.decode("utf-8", "replace"))[:200]
        try:
            keys.setdefault(PublicKey.from_wire(wire, text))
        except KeyFileError as error:
            others.append(f"{text or 'a key without a comment'}: {_reason(wire, error)}")
    return Listing(tuple(keys), tuple(others))


def agent_keys() -> list[PublicKey]:
    """The plain Ed25519 keys that the agent holds.

    Raises:
        AgentError: there is no agent, or it does not answer as one.
    """
    return list(list_agent().keys)


def signer_for(fingerprint: str, waiting: Waiting | None = None) -> AgentSigner:
    """A signer with the key of this fingerprint (`SHA256:…`).

    Raises:
        AgentError: there is no agent, or it does not hold that key.
    """
    listing = list_agent()
    for key in listing.keys:
        if key.fingerprint == fingerprint:
            return AgentSigner(key, waiting)
    raise AgentError(
        f"The ssh-agent does not hold the key {fingerprint}. {_holds(listing)}",
        hint=_ADD_HINT,
        fingerprint=fingerprint,
        held=[key.fingerprint for key in listing.keys],
    )


def only_signer(waiting: Waiting | None = None) -> AgentSigner:
    """A signer with the only Ed25519 key that the agent holds.

    Raises:
        AgentError: there is no agent, or it holds none or several.
    """
    listing = list_agent()
    if len(listing.keys) == 1:
        return AgentSigner(listing.keys[0], waiting)
    if not listing.keys:
        raise AgentError(f"The ssh-agent has no key to sign with. {_holds(listing)}", hint=_ADD_HINT)
    raise AgentError(
        "Which key? " + _holds(listing),
        hint="Name one by its fingerprint: --key SHA256:…",
        held=[key.fingerprint for key in listing.keys],
    )


def _holds(listing: Listing) -> str:
    """A sentence for messages: what the agent holds, and what of it does not serve."""
    found = [_shown(key) for key in listing.keys] + list(listing.others)
    if not found:
        return "It shows no key at all; a locked one does not either (`ssh-add -X` unlocks)."
    more = f" and {len(found) - 10} more" if len(found) > 10 else ""
    return f"It holds {'; '.join(found[:10])}{more}."


def _shown(key: PublicKey) -> str:
    return f"{key.fingerprint} ({key.comment})" if key.comment else key.fingerprint


def _reason(wire: bytes, error: KeyFileError) -> str:
    try:
        kind = Reader(wire).string().decode("utf-8", "replace")
    except WireError:
        return "a key that cannot be read"
    return error.message.rstrip(".") if kind == KEY_TYPE else describe_type(kind)


def _kind(answer: Reader) -> int:
    return answer.take(1)[0]


def _ask(request: bytes, timeout: float, tell: Callable[[], None] | None = None) -> bytes:
    """Send one message over a connection of its own and return the answer's content.

    Raises:
        AgentError: nobody is there, or too slow, or the answer is too large.
        WireError: the answer ends early.
    """
    deadline = time.monotonic() + timeout
    with _connect() as connection:
        try:
            connection.settimeout(CONNECT_TIMEOUT)
            connection.sendall(string(request))
            if tell is not None and not select.select([connection], [], [], min(_PATIENCE, timeout))[0]:
                tell()
            size = Reader(_receive(connection, 4, deadline)).uint32()
            if not 0 < size <= _MAX_ANSWER:
                raise _malformed(f"an answer of {size:,} bytes")
            return _receive(connection, size, deadline)
        except TimeoutError as error:
            raise AgentError(
                f"The ssh-agent did not answer within {timeout:.0f} s.",
                hint="Look for a window or a token that waits for you, and try again.",
            ) from error
        except OSError as error:
            raise AgentError(
                f"The ssh-agent broke off: {error.strerror or error}.", hint=_START_HINT
            ) from error


def _connect() -> socket.socket:
    path = os.environ.get(SOCKET_VARIABLE, "")
    if not path:
        raise AgentError(f"There is no ssh-agent: {SOCKET_VARIABLE} is not set.", hint=_START_HINT)
    if sys.platform == "win32":
        raise AgentError(
            "An ssh-agent cannot be used on Windows yet.", hint="Name a private key file with --key."
        )
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(CONNECT_TIMEOUT)
        connection.connect(path)
    except (OSError, ValueError) as error:
        connection.close()
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise AgentError(
            f"No ssh-agent answers at {quoted(path)} ({SOCKET_VARIABLE}): {reason}.", hint=_START_HINT
        ) from error
    return connection


def _receive(connection: socket.socket, count: int, deadline: float) -> bytes:
    data = bytearray()
    while len(data) < count:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        connection.settimeout(left)
        chunk = connection.recv(count - len(data))
        if not chunk:
            raise ConnectionResetError("it closed the connection")
        data += chunk
    return bytes(data)


def _declined(key: PublicKey) -> AgentError:
    return AgentError(
        f"The ssh-agent declines to sign with {_shown(key)}.",
        hint="It may be locked (`ssh-add -X` unlocks it), the confirmation was refused, or the key was taken "
        "out meanwhile (`ssh-add FILE` gives it back).",
        fingerprint=key.fingerprint,
    )


def _malformed(what: str) -> AgentError:
    return AgentError(
        f"What answers at {SOCKET_VARIABLE} is no proper ssh-agent: {what}.",
        hint="Check which program that socket belongs to.",
    )
