"""A team of maintainers as a publisher: which keys may sign, and how many of them must.

A team is a chain of TUF roots, version 1 first, each signed by the one before and by itself; `roots` proves
that. The keys of the `targets` role sign releases. Two facts of ours travel in the signed part under
`x-weightshare`: the team's `name`, and `releases`, the payloads (SHA-256) that stay good although keys that
signed them have gone. This module only reads: what it says of a root is what the file says.
Source: TUF specification 1.0.34, section 4.3.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from weightshare.errors import KeyFileError, ManifestError, TeamRootError
from weightshare.manifest import strict_json
from weightshare.manifest.statement import NAME
from weightshare.manifest.text import quoted
from weightshare.trust.keys import PublicKey
from weightshare.units import MAX_FILES, MAX_ROOT, MAX_ROOTS, MAX_SIGNATURES

OURS: Final = "x-weightshare"
RELEASES: Final = "targets"
"""The TUF role whose keys sign releases."""

_HEX32 = re.compile(r"[0-9a-f]{64}")
_SCHEMES = ("ed25519", "ed25519")


@dataclass(frozen=True, slots=True)
class Quorum:
    """Keys of which a number must sign."""

    keys: tuple[PublicKey, ...]
    threshold: int

    def count(self, signers: tuple[PublicKey, ...]) -> int:
        """How many of the quorum's keys are among these; each counts once."""
        return len(set(self.keys) & set(signers))

    def met_by(self, signers: tuple[PublicKey, ...]) -> bool:
        """Whether enough of them are."""
        return self.count(signers) >= self.threshold


@dataclass(frozen=True, slots=True)
class Root:
    """One root file, as it says; whether it is genuine is for `roots` to prove.

    Attributes:
        raw: the file's bytes.
        version: from 1.
        name: the team's name.
        releases: who signs releases.
        roots: who signs the next root.
        kept: SHA-256 of payloads that stay good although their keys were retired.
    """

    raw: bytes
    version: int
    name: str
    releases: Quorum
    roots: Quorum
    kept: frozenset[bytes]


@dataclass(frozen=True, slots=True)
class Team:
    """A publisher with several keys.

    Attributes:
        fingerprint: its identity, `SHA256:…` over the signed part of its first root.
        chain: its roots, version 1 first.
    """

    fingerprint: str
    chain: tuple[Root, ...]

    @property
    def current(self) -> Root:
        """The newest root."""
        return self.chain[-1]

    @property
    def version(self) -> int:
        """The newest root's version."""
        return self.current.version

    @property
    def rule(self) -> str:
        """`2 of 3 keys must sign`."""
        quorum = self.current.releases
        return f"{quorum.threshold} of {len(quorum.keys)} keys must sign"

    @property
    def name(self) -> str:
        """What the team calls itself."""
        return self.current.name

    def at(self, version: int) -> Root:
        """The root of a version that is in the chain."""
        return self.chain[version - 1]


def read_root(raw: bytes) -> Root:
    """Read a root file strictly: two programs must not read two things from it.

    Raises:
        TeamRootError: it is no root, or one that is not for weightshare; the message says what is wrong.
    """
    try:
        document = strict_json.loads(raw, limit=MAX_ROOT, what="team root")
    except ManifestError as error:
        raise TeamRootError(error.message) from error
    signed = _child(document, "signed")
    if signed.get("_type") != "root":
        raise _error("it is no TUF root")
    version = _number(signed, "version", 2**31)
    ours = _child(signed, OURS)
    name = ours.get("name")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise _error(f"it names no team in `{OURS}`")
    listed = ours.get("releases", [])
    if not isinstance(listed, list) or len(listed) > MAX_FILES:
        raise _error(f"`{OURS}.releases` is no list of at most {MAX_FILES:,}")
    kept = frozenset(bytes.fromhex(text) for text in map(_digest, listed))
    keys = _keys(_child(signed, "keys"))
    roles = _child(signed, "roles")
    return Root(raw, version, name, _quorum(roles, RELEASES, keys), _quorum(roles, "root", keys), kept)


def as_team(fingerprint: str, files: tuple[bytes, ...]) -> Team:
    """A team from roots that were proven before and kept since.

    Raises:
        TeamRootError: a file is damaged, or they are not versions 1, 2, 3…
    """
    chain = tuple(map(read_root, files))
    if not chain or [root.version for root in chain] != list(range(1, len(chain) + 1)):
        raise _error("the versions kept of it are not 1, 2, 3…")
    return Team(fingerprint, chain)


def check_length(count: int) -> None:
    """Refuse a chain that is longer than any real one.

    Raises:
        TeamRootError: it is.
    """
    if count > MAX_ROOTS:
        raise _error(f"{count} roots, {MAX_ROOTS} at most")


def _keys(entries: Mapping[str, object]) -> dict[str, PublicKey]:
    if len(entries) > 2 * MAX_SIGNATURES:
        raise _error(f"{len(entries)} keys, {2 * MAX_SIGNATURES} at most")
    keys: dict[str, PublicKey] = {}
    for keyid in entries:
        entry = _child(entries, keyid)
        public = _child(entry, "keyval").get("public")
        if (entry.get("keytype"), entry.get("scheme")) != _SCHEMES:
            raise _error(f"the key {quoted(keyid, 16)} is no Ed25519 key")
        if not isinstance(public, str) or not _HEX32.fullmatch(public):
            raise _error(f"the key {quoted(keyid, 16)} has no 64 hex digits")
        try:
            keys[keyid] = PublicKey(bytes.fromhex(public))
        except KeyFileError as error:
            raise TeamRootError(f"A team root: {error.message}") from error
    if len(set(keys.values())) != len(keys):
        raise _error("the same key is in it under two ids, and would count twice")
    return keys


def _quorum(roles: Mapping[str, object], role: str, keys: Mapping[str, PublicKey]) -> Quorum:
    entry = _child(roles, role)
    ids, threshold = entry.get("keyids"), _number(entry, "threshold", MAX_SIGNATURES)
    if not isinstance(ids, list) or any(not isinstance(keyid, str) or keyid not in keys for keyid in ids):
        raise _error(f"the role {role} names keys that it does not have")
    members = tuple(dict.fromkeys(keys[keyid] for keyid in ids))
    if threshold > len(members):
        raise _error(f"the role {role} demands {threshold} of {len(members)} keys")
    return Quorum(members, threshold)


def _child(parent: object, key: str) -> dict[str, object]:
    value = parent.get(key) if isinstance(parent, dict) else None
    if not isinstance(value, dict):
        raise _error(f"`{key}` is no object")
    return value


def _number(entry: Mapping[str, object], key: str, most: int) -> int:
    value = entry.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise _error(f"`{key}` is no number from 1 to {most}")
    return value


def _digest(value: object) -> str:
    if not isinstance(value, str) or not _HEX32.fullmatch(value):
        raise _error(f"`{OURS}.releases` holds something that is no SHA-256 in hex")
    return value


def _error(problem: str) -> TeamRootError:
    return TeamRootError(f"A team root is refused: {problem}.", hint="Ask the team for its root files.")
