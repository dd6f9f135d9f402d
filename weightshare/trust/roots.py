"""Makes, signs and proves a team's roots with python-tuf, which only this module imports.

A root counts if enough of its own keys signed it and, from version 2 on, enough of the keys of the one before.
When it expires does not matter: what a team signed stays signed. Expiry is for the roles of a channel, which
says what is newest. Source: TUF specification 1.0.34, sections 5.3 and 6.1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from weightshare.errors import MissingExtraError, TeamRootError
from weightshare.trust.keys import PublicKey, Signer, format_fingerprint
from weightshare.trust.teams import OURS, RELEASES, Root, Team, check_length, read_root
from weightshare.units import MAX_ROOT

if TYPE_CHECKING:
    from securesystemslib.signer import Key, SSlibKey
    from tuf.api.metadata import Metadata
    from tuf.api.metadata import Root as TufRoot

LIFETIME = timedelta(days=365)
"""How long a root's channel may rest on it before the team signs a new one."""

_CHANNEL = ("snapshot", "timestamp")


@dataclass(frozen=True, slots=True)
class Missing:
    """What a root still lacks.

    Attributes:
        own: signatures missing of its own keys.
        previous: signatures missing of the keys of the version before.
    """

    own: int
    previous: int

    @property
    def complete(self) -> bool:
        """Whether it lacks nothing."""
        return not self.own and not self.previous


def start(files: Sequence[bytes]) -> Team:
    """A team from its roots, version 1 first, each proven. Nobody vouches for the first but itself.

    Raises:
        TeamRootError: there is none, or one does not follow from the one before.
        MissingExtraError: python-tuf is not installed.
    """
    check_length(len(files))
    if not files:
        raise TeamRootError("The release of a team brings no root.", hint="Ask the team for its root files.")
    first, metadata = _read(files[0])
    if first.version != 1:
        raise TeamRootError(f"A team's roots begin with version 1, not {first.version}.")
    _verify(metadata, metadata, 1)
    team = follow(Team(identity(first), (first,)), files[1:])
    if team.version != len(files):
        raise TeamRootError("A team's roots are versions 1, 2, 3…, each once and in this order.")
    return team


def identity(first: Root) -> str:
    """The identity of the team that begins with this root: `SHA256:…` over the root's signed part."""
    return format_fingerprint(hashlib.sha256(_read(first.raw)[1].signed_bytes).digest())


def follow(team: Team, files: Sequence[bytes]) -> Team:
    """The team as newer roots say; those that are not newer than what is known are passed over.

    Raises:
        TeamRootError: a version is skipped, or a root is not signed by enough keys of itself and the one before.
        MissingExtraError: python-tuf is not installed.
    """
    check_length(len(files))
    chain = list(team.chain)
    for raw in files:
        if read_root(raw).version <= chain[-1].version:
            continue
        _, previous = _read(chain[-1].raw)
        root, metadata = _read(raw)
        if root.version != chain[-1].version + 1:
            raise TeamRootError(
                f"The team's root {root.version} does not follow {chain[-1].version}: one in between is missing.",
                hint="Ask the team for all of its root files.",
            )
        if root.name != team.name:
            raise TeamRootError(
                f"The root {root.version} is for {root.name}, the one before for {team.name}."
            )
        _verify(previous, metadata, root.version)
        _verify(metadata, metadata, root.version)
        chain.append(root)
    return Team(team.fingerprint, tuple(chain))


def signed_by(raw: bytes, key: PublicKey) -> bool:
    """Whether a root carries a signature by this key, be it one of the root's own or not."""
    _, metadata = _read(raw)
    return any(
        key.verify(signature, metadata.signed_bytes)
        for signature in _signatures(metadata)
        if len(signature) == 64
    )


def draft(
    name: str,
    keys: Iterable[PublicKey],
    threshold: int,
    *,
    previous: Root | None = None,
    keep: Iterable[bytes] = (),
    now: datetime | None = None,
) -> Root:
    """A root that nobody has signed yet.

    Args:
        name: the team's name.
        keys: who signs releases and the next root.
        threshold: how many of them must.
        previous: the root before, None for the first.
        keep: SHA-256 of payloads that stay good although their keys go; those of `previous` are kept too.
        now: the time, for its expiry.

    Raises:
        TeamRootError: a threshold that cannot be met, or a key twice.
        MissingExtraError: python-tuf is not installed.
    """
    _require()
    from tuf.api.metadata import Metadata, Role
    from tuf.api.metadata import Root as TufRoot

    members: dict[str, Key] = {key.keyid: key for key in map(_sslib_key, keys)}
    ids = list(members)
    kept = sorted({*keep, *(previous.kept if previous else ())})
    signed = TufRoot(
        version=previous.version + 1 if previous else 1,
        expires=(now or datetime.now(UTC)).replace(microsecond=0) + LIFETIME,
        keys=members,
        roles={
            "root": Role(list(ids), threshold),
            RELEASES: Role(list(ids), threshold),
            **{role: Role(list(ids), 1) for role in _CHANNEL},
        },
        consistent_snapshot=False,
        unrecognized_fields={OURS: {"name": name, "releases": [digest.hex() for digest in kept]}},
    )
    return read_root(Metadata(signed).to_bytes())


def sign(root: Root, signer: Signer) -> Root:
    """The root with one more signature.

    Raises:
        TeamRootError: it would grow past what is taken.
        KeyFileError: the signer cannot sign.
        MissingExtraError: python-tuf is not installed.
    """
    _, metadata = _read(root.raw)
    from securesystemslib.signer import Signature

    keyid = _sslib_key(signer.public_key).keyid
    metadata.signatures[keyid] = Signature(keyid, signer.sign(metadata.signed_bytes).hex())
    raw = metadata.to_bytes()
    if len(raw) > MAX_ROOT:
        raise TeamRootError(f"The root has {len(raw):,} bytes, {MAX_ROOT:,} at most.")
    return read_root(raw)


def missing(root: Root, previous: Root | None) -> Missing:
    """Which signatures a root still lacks.

    Raises:
        TeamRootError: one of the two cannot be read.
        MissingExtraError: python-tuf is not installed.
    """
    _, metadata = _read(root.raw)
    before = _read(previous.raw)[1] if previous else metadata

    def lacking(by: Metadata[TufRoot]) -> int:
        return by.signed.get_verification_result("root", metadata.signed_bytes, metadata.signatures).missing

    return Missing(lacking(metadata), lacking(before) if previous else 0)


def expires(root: Root) -> datetime:
    """When a channel that rests on this root goes stale. It says nothing about releases."""
    return _read(root.raw)[1].signed.expires


def _verify(by: Metadata[TufRoot], of: Metadata[TufRoot], version: int) -> None:
    from tuf.api.exceptions import RepositoryError

    try:
        by.signed.verify_delegate("root", of.signed_bytes, of.signatures)
    except (RepositoryError, ValueError) as error:
        whose = "its own keys" if by.signed.version == version else f"the keys of root {by.signed.version}"
        raise TeamRootError(
            f"The team's root {version} is not signed by enough of {whose}.",
            hint="Nothing of it is believed. Ask the team which root is theirs.",
        ) from error


def _read(raw: bytes) -> tuple[Root, Metadata[TufRoot]]:
    """The root as we read it, strictly, and as python-tuf does."""
    _require()
    from tuf.api.metadata import Metadata
    from tuf.api.serialization import DeserializationError

    root = read_root(raw)
    try:
        parsed: Metadata[TufRoot] = Metadata.from_bytes(raw)
    except (DeserializationError, ValueError, TypeError, KeyError) as error:
        raise TeamRootError(f"The team's root {root.version} breaks TUF's format: {error}.") from error
    return root, parsed


def _signatures(metadata: Metadata[TufRoot]) -> list[bytes]:
    found = []
    for signature in metadata.signatures.values():
        try:
            found.append(bytes.fromhex(signature.signature))
        except ValueError:
            continue
    return found


def _require() -> None:
    """Raises MissingExtraError where python-tuf is not installed."""
    try:
        import tuf.api.metadata  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            "This publisher is a team, and reading its roots needs python-tuf.",
            hint="Install it: pip install 'weightshare[teams]'",
            package="tuf",
        ) from error


def _sslib_key(key: PublicKey) -> SSlibKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from securesystemslib.signer import SSlibKey

    return SSlibKey.from_crypto(Ed25519PublicKey.from_public_bytes(key.raw))
