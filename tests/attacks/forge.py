"""Makes a small honest release, and whatever an attacker would make of it.

The honest one is built with the library's own parts. What is hostile is made below them, from raw dictionaries and raw
JSON, since no part of the library would write it: changed, encoded and hashed anew, and signed again where the attack
is one by somebody who can sign.
"""

from __future__ import annotations

import hashlib
import json
import random
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from tests.builders_metainfo import hashed, hashed_all
from tests.builders_releases import PIECE, signer
from weightshare.manifest import bencode
from weightshare.manifest.envelope import Envelope, Signature
from weightshare.manifest.magnet import Magnet
from weightshare.manifest.metainfo import build_info
from weightshare.manifest.model import (
    MANIFEST_NAME,
    PAYLOAD_TYPE,
    FileEntry,
    Manifest,
    ModelFacts,
    Publisher,
    TorrentFacts,
)
from weightshare.trust.keys import FileSigner
from weightshare.trust.signing import sign

Info = dict[bytes, Any]
Statement = dict[str, Any]
Parts = tuple[bytes, ...]

ACME = signer(1)
"""The publisher that the victim knows."""

MALLORY = signer(66)
"""Somebody else, with a perfectly good key."""

CONFIG = "config.json"
SHARD_1, SHARD_2 = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
TOKENS = "sub/tokenizer.json"


def safetensors(seed: int, rows: int) -> bytes:
    """A sound shard with one U8 tensor of noise; nothing in it compresses or repeats."""
    header = json.dumps(
        {f"layer.{seed}": {"dtype": "U8", "shape": [rows, 64], "data_offsets": [0, rows * 64]}}
    )
    padded = header.encode().ljust(-(-len(header) // 8) * 8)
    return struct.pack("<Q", len(padded)) + padded + random.Random(seed).randbytes(rows * 64)


def checkpoint(seed: int = 1) -> dict[str, bytes]:
    """A tiny checkpoint: two shards of a few pieces, and what stands around them."""
    index = {"metadata": {}, "weight_map": {f"layer.{seed}": SHARD_1, f"layer.{seed + 1}": SHARD_2}}
    return {
        CONFIG: b'{"model_type": "llama"}',
        SHARD_1: safetensors(seed, 1500),
        SHARD_2: safetensors(seed + 1, 900),
        "model.safetensors.index.json": json.dumps(index).encode(),
        TOKENS: b'{"version": "1.0"}',
    }


@dataclass(frozen=True)
class Bait:
    """A torrent to serve.

    Attributes:
        info: the raw info dictionary.
        contents: bytes by pieces root; what is missing here is served as zeros.
        layers: piece layers by pieces root.
    """

    info: bytes
    contents: Mapping[bytes, bytes]
    layers: Mapping[bytes, bytes]

    @cached_property
    def v2_hash(self) -> bytes:
        return hashlib.sha256(self.info).digest()

    @property
    def torrent(self) -> bytes:
        """The `.torrent` around it."""
        roots = {root for _, _, root in self.files}
        layers = {root: layer for root, layer in self.layers.items() if root in roots}
        return b"d4:info" + self.info + b"12:piece layers" + bencode.encode(layers) + b"e"

    @property
    def files(self) -> list[tuple[Parts, int, bytes | None]]:
        """Path, size and root of every file in the tree's order; none if the tree cannot be read."""
        info = bencode.decode(self.info, limit=2**24, what="bait", max_depth=1000)
        assert isinstance(info, dict)
        return list(_walk(info.get(b"file tree", {}), ()))

    def magnet(self, **more: Any) -> str:
        """A link to it."""
        return str(Magnet(v2_hash=self.v2_hash, **more))


def _walk(node: Any, path: Parts) -> Iterator[tuple[Parts, int, bytes | None]]:
    for part, child in sorted(node.items()):
        if part == b"" and b"length" in child:
            yield path, child[b"length"], child.get(b"pieces root")
        else:
            yield from _walk(child, (*path, part))


@dataclass(frozen=True)
class Release:
    """A signed release with all that is needed to serve it, or to spoil it."""

    manifest: Manifest
    key: FileSigner
    contents: Mapping[str, bytes]

    @cached_property
    def envelope(self) -> bytes:
        """The bytes of `weightshare.json`."""
        return sign(self.manifest, self.key).to_bytes()

    @property
    def statement(self) -> Statement:
        """The signed statement as JSON, to be changed."""
        statement = json.loads(self.manifest.to_payload())
        assert isinstance(statement, dict)
        return statement

    @property
    def sequence(self) -> int:
        return self.manifest.model.sequence

    def info(self, envelope: bytes | None = None) -> Info:
        """The info dictionary with this manifest in it, to be changed."""
        files = {**self.contents, MANIFEST_NAME: self.envelope if envelope is None else envelope}
        facts = self.manifest.torrent
        hashes = hashed_all(files, facts.piece_length, hybrid=facts.hybrid)
        raw = build_info(facts.name, facts.piece_length, hashes, hybrid=facts.hybrid)
        info = bencode.decode(raw, limit=2**24, what="info dictionary")
        assert isinstance(info, dict)
        return info

    def bait(
        self,
        change: Callable[[Info], object] | None = None,
        *,
        envelope: bytes | None = None,
        more: Sequence[bytes] = (),
    ) -> Bait:
        """The torrent to serve.

        Args:
            change: what to do to the info dictionary before it is encoded.
            envelope: another `weightshare.json` than the honest one.
            more: bytes of files that `change` puts in.
        """
        info = self.info(envelope)
        if change is not None:
            change(info)
        held = filter(None, [*self.contents.values(), self.envelope if envelope is None else envelope, *more])
        hashes = [(data, hashed("x", data, info[b"piece length"], hybrid=False)) for data in held]
        return Bait(
            info=bencode.encode(info),
            contents={found.pieces_root: data for data, found in hashes if found.pieces_root},
            layers={
                found.pieces_root: found.piece_layer
                for _, found in hashes
                if found.pieces_root and found.piece_layer
            },
        )

    def restated(self, change: Callable[[Statement], object], key: FileSigner | None = None) -> bytes:
        """The envelope around a changed statement, properly signed."""
        statement = self.statement
        change(statement)
        return sealed(json.dumps(statement).encode(), key or self.key)


def release(
    key: FileSigner = ACME,
    *,
    contents: Mapping[str, bytes] | None = None,
    publisher: str = "acme",
    model: str = "acme/tiny",
    version: str = "1",
    sequence: int = 5,
    summary: str = "a model for tests",
    hybrid: bool = False,
) -> Release:
    """A release that whoever knows the key takes without a word."""
    held = checkpoint() if contents is None else contents
    return Release(
        Manifest(
            files=tuple(
                FileEntry(path, len(data), hashlib.sha256(data).digest(), root_of(data))
                for path, data in sorted(held.items(), key=lambda item: item[0].encode())
            ),
            publisher=Publisher(publisher, (key.public_key.fingerprint,)),
            model=ModelFacts(model, version, sequence, "2026-11-22T10:00:00Z", summary),
            torrent=TorrentFacts("tiny", PIECE, hybrid),
        ),
        key,
        held,
    )


def resigned(honest: Release, key: FileSigner, **publisher: Any) -> Release:
    """The same release, signed by somebody else for the same name, or for the one given."""
    who = replace(honest.manifest.publisher, keys=(key.public_key.fingerprint,), **publisher)
    return replace(honest, manifest=replace(honest.manifest, publisher=who), key=key)


def sealed(payload: bytes, *keys: FileSigner, payload_type: str = PAYLOAD_TYPE) -> bytes:
    """An envelope around any payload, signed by these keys; nobody reads what they sign."""
    bare = Envelope(payload_type, payload, ())
    signatures = tuple(
        Signature(key.public_key.fingerprint, key.sign(bare.pae()), key.public_key.openssh) for key in keys
    )
    return replace(bare, signatures=signatures).to_bytes()


def root_of(data: bytes) -> bytes:
    """The pieces root of some bytes; whatever is not empty has one."""
    root = hashed("x", data, PIECE, hybrid=False).pieces_root
    assert root is not None
    return root


# ---- changes to an info dictionary


def leaf(data: bytes, **more: Any) -> Info:
    """A file of the tree."""
    fields = {key.replace("_", " ").encode(): value for key, value in more.items()}
    return {b"": {b"length": len(data), b"pieces root": root_of(data)} | fields}


def parts_of(path: str) -> Parts:
    return tuple(part.encode() for part in path.split("/"))


def put(info: Info, path: Sequence[bytes], node: Info) -> None:
    """Put a node into the tree, whatever its name."""
    place = info[b"file tree"]
    for part in path[:-1]:
        place = place.setdefault(part, {})
    place[path[-1]] = node


def take(info: Info, path: str) -> Info:
    """Take a node out of the tree."""
    *folders, name = parts_of(path)
    place = info[b"file tree"]
    for part in folders:
        place = place[part]
    node = place.pop(name)
    if not place and folders:
        del info[b"file tree"][folders[0]]
    assert isinstance(node, dict)
    return node


def facts(info: Info, path: str) -> Info:
    """The fields of a file in the tree: its length, its root, its attributes."""
    place = info[b"file tree"]
    for part in parts_of(path):
        place = place[part]
    fields = place[b""]
    assert isinstance(fields, dict)
    return fields


# ---- changes to a statement


def rename_entry(statement: Statement, old: str, new: str) -> None:
    """Give a file another path wherever the statement names it, and sort anew."""
    for entry in statement["predicate"]["files"]:
        if entry["path"] == old:
            entry["path"] = new
    for entry in statement["subject"]:
        if entry["name"] == old:
            entry["name"] = new
    statement["predicate"]["files"].sort(key=lambda entry: entry["path"].encode("utf-8", "surrogatepass"))
    statement["subject"].sort(key=lambda entry: entry["name"].encode("utf-8", "surrogatepass"))


def smuggled(honest: Release, old: str, path: Sequence[bytes]) -> Bait:
    """A torrent and a properly signed manifest that agree on a path, whatever path it is."""
    new = b"/".join(path).decode("utf-8", "replace")
    envelope = honest.restated(lambda statement: rename_entry(statement, old, new))
    return honest.bait(lambda info: put(info, path, take(info, old)), envelope=envelope)
