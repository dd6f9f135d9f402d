"""The agent's client against programs that answer as no agent should. A real agent is in `tests/interop`."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.builders_releases import signer
from weightshare.errors import AgentError
from weightshare.trust import agent
from weightshare.trust.agent import AgentSigner, agent_keys, list_agent, only_signer, signer_for
from weightshare.trust.wire import string, uint32

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the agent's socket is a POSIX one")

KEY = signer(1)
OTHER = signer(2)
Answer = Callable[[bytes], bytes | None]


@contextmanager
def answering(answer: Answer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Something behind SSH_AUTH_SOCK; it sends what `answer` makes of a request, and hangs up on None."""
    folder = Path(tempfile.mkdtemp())  # a socket's path has 107 bytes at most
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / "s"))
    listener.listen()
    done = threading.Event()

    def serve() -> None:
        while True:
            connection, _ = listener.accept()
            with connection:
                if done.is_set():
                    return
                size = int.from_bytes(connection.recv(4, socket.MSG_WAITALL), "big")
                reply = answer(connection.recv(size, socket.MSG_WAITALL))
                if reply is not None:
                    connection.sendall(reply)

    thread = threading.Thread(target=serve)
    thread.start()
    monkeypatch.setenv(agent.SOCKET_VARIABLE, str(folder / "s"))
    try:
        yield folder / "s"
    finally:
        done.set()
        with socket.socket(socket.AF_UNIX) as last:
            last.connect(str(folder / "s"))
        thread.join()
        listener.close()
        shutil.rmtree(folder)


def keys(*entries: tuple[bytes, bytes], count: int | None = None, more: bytes = b"") -> bytes:
    """An answer that lists keys."""
    body = b"".join(string(wire) + string(comment) for wire, comment in entries)
    return string(bytes([12]) + uint32(len(entries) if count is None else count) + body + more)


def signature(raw: bytes, kind: bytes = b"ssh-ed25519", more: bytes = b"", after: bytes = b"") -> bytes:
    """An answer that gives a signature."""
    return string(bytes([14]) + string(string(kind) + string(raw) + more) + after)


def honest(request: bytes) -> bytes:
    """An agent with one key."""
    if request == bytes([11]):
        return keys((KEY.public_key.wire, b"me"))
    message = request[1 + 4 + 51 + 4 : -4]
    assert request == bytes([13]) + string(KEY.public_key.wire) + string(message) + bytes(4)
    return signature(KEY.sign(message))


def test_it_lists_and_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(honest, monkeypatch):
        assert agent_keys() == [KEY.public_key]
        assert agent_keys()[0].comment == "me"
        for found in (only_signer(), signer_for(KEY.public_key.fingerprint)):
            assert found.sign(b"message") == KEY.sign(b"message")
        with pytest.raises(AgentError, match="does not hold") as caught:
            signer_for(OTHER.public_key.fingerprint)
    assert f"It holds {KEY.public_key.fingerprint} (me)." in caught.value.message
    assert "ssh-add FILE" in caught.value.hint
    assert caught.value.exit_code == 3


def test_other_keys_are_named_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = KEY.public_key.raw
    listing = keys(
        (string(b"ssh-rsa") + string(b"\1\0\1") + string(b"\0\xff"), b"old"),
        (string(b"ecdsa-sha2-nistp256") + string(b"nistp256") + string(b"\4"), b"work"),
        (string(b"sk-ssh-ed25519@openssh.com") + string(raw) + string(b"ssh:"), b"token"),
        (string(b"ssh-ed25519-cert-v01@openssh.com") + string(raw), b"cert"),
        (string(b"ssh-ed25519") + string((1).to_bytes(32, "little")), b"weak"),
        (string(b"ssh-ed25519") + string(raw) + b"more", b"long"),
        (b"\0\0\0\xff", b"\x1b[2J\xff"),
        (KEY.public_key.wire, b"mine \x1b[2J"),
        (KEY.public_key.wire, b"again"),
        (OTHER.public_key.wire, b""),
    )
    with answering(lambda _: listing, monkeypatch):
        found = list_agent()
        with pytest.raises(AgentError, match="Which key") as caught:
            only_signer()
    assert found.keys == (KEY.public_key, OTHER.public_key)
    reasons = (
        "RSA",
        "ECDSA",
        "security device",
        "certificate",
        "small order",
        "follow its end",
        "cannot be read",
    )
    for shown, reason in zip(found.others, reasons, strict=True):
        assert reason in shown
    assert KEY.public_key.fingerprint in caught.value.message
    assert "\x1b" not in caught.value.message + "".join(found.others)


def test_an_empty_agent_may_be_a_locked_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        answering(lambda _: keys(), monkeypatch),
        pytest.raises(AgentError, match="no key to sign with") as caught,
    ):
        only_signer()
    assert "ssh-add -X" in caught.value.message
    assert "ssh-add FILE" in caught.value.hint


LISTINGS: dict[str, tuple[Answer, str]] = {
    "refusal": (lambda _: string(bytes([5])), "no list"),
    "other message": (lambda _: signature(bytes(64)), "no list"),
    "empty": (lambda _: string(b""), "answer of 0 bytes"),
    "huge": (lambda _: b"\xff\xff\xff\xff", "answer of 4,294,967,295 bytes"),
    "hangs up": (lambda _: None, "broke off"),
    "hangs up in the length": (lambda _: b"\0\0", "broke off"),
    "hangs up in the body": (lambda _: uint32(100) + bytes(99), "broke off"),
    "too many": (lambda _: keys(count=1001), "list of 1,001 keys"),
    "fewer than said": (lambda _: keys((KEY.public_key.wire, b""), count=2), "ends early"),
    "more than said": (lambda _: keys((KEY.public_key.wire, b""), count=0), "follow its end"),
    "trailing": (lambda _: keys(more=b"x"), "follow its end"),
    "string past the end": (lambda _: string(bytes([12]) + uint32(1) + uint32(2**32 - 1)), "ends early"),
    "count only": (lambda _: string(bytes([12, 0, 0])), "ends early"),
}


@pytest.mark.parametrize(("answer", "problem"), LISTINGS.values(), ids=LISTINGS)
def test_odd_listings_are_refused(answer: Answer, problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(answer, monkeypatch), pytest.raises(AgentError, match=problem):
        list_agent()


SIGNATURES: dict[str, tuple[bytes | None, str]] = {
    "declined": (string(bytes([5])), "declines to sign"),
    "other key's": (signature(OTHER.sign(b"m")), "does not hold"),
    "other message's": (signature(KEY.sign(b"n")), "does not hold"),
    "short": (signature(KEY.sign(b"m")[:63]), "63 bytes"),
    "long": (signature(KEY.sign(b"m") + b"\0"), "65 bytes"),
    "sk": (signature(KEY.sign(b"m"), b"sk-ssh-ed25519@openssh.com"), "type 'sk-ssh"),
    "rsa": (signature(KEY.sign(b"m"), b"rsa-sha2-512"), "type 'rsa-sha2"),
    "inner trailing": (signature(KEY.sign(b"m"), more=b"x"), "follow its end"),
    "outer trailing": (signature(KEY.sign(b"m"), after=b"x"), "follow its end"),
    "keys": (keys((KEY.public_key.wire, b"")), "ends early|no proper"),
    "gone": (None, "broke off"),
}


@pytest.mark.parametrize(("answer", "problem"), SIGNATURES.values(), ids=SIGNATURES)
def test_odd_signatures_are_refused(
    answer: bytes | None, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering(lambda _: answer, monkeypatch), pytest.raises(AgentError, match=problem) as caught:
        AgentSigner(KEY.public_key).sign(b"m")
    assert caught.value.hint


def test_silence_is_waited_for_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = threading.Event()

    def silent(_: bytes) -> None:
        asked.wait(20)

    monkeypatch.setattr(agent, "CONNECT_TIMEOUT", 0.2)
    monkeypatch.setattr(agent, "SIGN_TIMEOUT", 0.3)
    monkeypatch.setattr(agent, "_PATIENCE", 0.05)
    told: list[str] = []
    with answering(silent, monkeypatch):
        try:
            with pytest.raises(AgentError, match="did not answer within"):
                AgentSigner(KEY.public_key, told.append).sign(b"m")
            with pytest.raises(AgentError, match="did not answer within"):
                list_agent()
        finally:
            asked.set()
    (message,) = told
    assert KEY.public_key.fingerprint in message
    assert "touch" in message


def test_a_quick_answer_is_not_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    with answering(honest, monkeypatch):
        AgentSigner(KEY.public_key, told.append).sign(b"m")
    assert told == []


def test_without_an_agent_it_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.delenv(agent.SOCKET_VARIABLE, raising=False)
    with pytest.raises(AgentError, match="SSH_AUTH_SOCK is not set") as caught:
        list_agent()
    assert "ssh-agent" in caught.value.hint
    for path in (str(tmp_path / "gone"), str(tmp_path / "file"), "/" + "x" * 200, os.curdir):
        monkeypatch.setenv(agent.SOCKET_VARIABLE, path)
        with pytest.raises(AgentError, match="No ssh-agent answers at") as caught:
            list_agent()
        assert "ssh-add" in caught.value.hint


def test_a_dead_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(folder / "s"))
        monkeypatch.setenv(agent.SOCKET_VARIABLE, str(folder / "s"))
        with pytest.raises(AgentError, match="Connection refused"):
            agent_keys()
    finally:
        shutil.rmtree(folder)
