"""A peer of a hundred lines that serves metadata and nothing else: for what libtorrent itself would never load.

It speaks BEP 3's handshake, BEP 10's extended handshake and BEP 9's metadata messages, on 127.0.0.1, in plain text. The
bytes it sends need not have the hash they are asked for by, and the size it names need not be theirs.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType

from weightshare.manifest import bencode

_PROTOCOL = b"\x13BitTorrent protocol"
_EXTENDED, _HANDSHAKE, _OUR_UT_METADATA = 20, 0, 3
_CHUNK = 16 * 1024


@dataclass(frozen=True, slots=True)
class Lore:
    """What is said of one torrent: the metadata's bytes, and the size that is named for it (None: the true one)."""

    metadata: bytes
    named_size: int | None = None


class MetadataPeer:
    """Listens while it is open. `asked` is what it was asked for: 20 bytes of a v2 info-hash, and a chunk's index."""

    def __init__(self) -> None:
        self._lore: dict[bytes, Lore] = {}
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.asked: set[tuple[bytes, int]] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> MetadataPeer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()

    def tell(self, v2_hash: bytes, metadata: bytes, *, named_size: int | None = None) -> None:
        """Serve this metadata to whoever asks for that hash."""
        self._lore[v2_hash[:20]] = Lore(metadata, named_size)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError, EOFError), connection:
            connection.settimeout(30)
            greeting = _exactly(connection, 68)
            lore = self._lore.get(greeting[28:48])
            if not greeting.startswith(_PROTOCOL) or lore is None:
                return  # an encrypted handshake, or a stranger's torrent
            reserved = bytes([0, 0, 0, 0, 0, 0x10, 0, 0x10])  # extensions; v2
            connection.sendall(_PROTOCOL + reserved + greeting[28:48] + b"-XX0000-hostilehosti")
            size = len(lore.metadata) if lore.named_size is None else lore.named_size
            hello = {b"m": {b"ut_metadata": _OUR_UT_METADATA}, b"metadata_size": size}
            connection.sendall(_message(_HANDSHAKE, hello))
            theirs = 0
            while True:
                (length,) = struct.unpack(">I", _exactly(connection, 4))
                body = _exactly(connection, length)
                if body[:1] != bytes([_EXTENDED]):
                    continue
                if body[1] == _HANDSHAKE:
                    theirs = _their_id(body[2:])
                elif body[1] == _OUR_UT_METADATA:
                    self._answer(connection, theirs, greeting[28:48], lore.metadata, body[2:], size)

    def _answer(
        self, connection: socket.socket, theirs: int, key: bytes, metadata: bytes, body: bytes, size: int
    ) -> None:
        asked = bencode.decode(body, limit=1024, what="metadata request")
        assert isinstance(asked, dict)
        index = asked[b"piece"]
        assert isinstance(index, int)
        self.asked.add((key, index))
        reply: Mapping[bytes, int] = {b"msg_type": 1, b"piece": index, b"total_size": size}
        chunk = metadata[index * _CHUNK : (index + 1) * _CHUNK]
        connection.sendall(_message(theirs, reply, chunk))


def _message(kind: int, value: object, tail: bytes = b"") -> bytes:
    body = bytes([_EXTENDED, kind]) + bencode.encode(value) + tail
    return struct.pack(">I", len(body)) + body


def _their_id(body: bytes) -> int:
    hello = bencode.decode(body, limit=65_536, what="extended handshake")
    assert isinstance(hello, dict)
    names = hello[b"m"]
    assert isinstance(names, dict)
    number = names[b"ut_metadata"]
    assert isinstance(number, int)
    return number


def _exactly(connection: socket.socket, count: int) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        part = connection.recv(count - len(parts))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)
