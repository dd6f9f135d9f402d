"""Whether a torrent is what a publisher signed, and whether the user wants what it holds."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from weightshare.errors import (
    MetainfoError,
    PickleError,
    RevokedError,
    RollbackError,
    TreeMismatchError,
    UnsignedError,
)
from weightshare.manifest.kinds import is_code, is_pickle
from weightshare.manifest.metainfo import Info, parse_info
from weightshare.manifest.model import MANIFEST_NAME
from weightshare.manifest.text import quoted
from weightshare.trust.publishers import KnownPublishers
from weightshare.trust.verification import Examined, VerifiedManifest
from weightshare.units import MAX_ENVELOPE

_MAX_NAMED = 10


@dataclass(frozen=True, slots=True)
class Policy:
    """What the user allows.

    Attributes:
        allow_pickle: take files that run code when loaded.
        latest: the release was picked as a channel's latest, so an older one than seen is refused.
        seen: verified manifests of other releases; what their publishers revoke in them is refused.
    """

    allow_pickle: bool = False
    latest: bool = False
    seen: tuple[VerifiedManifest, ...] = ()


def check_info(raw_info: bytes, expected_v2: bytes) -> Info:
    """Prove that an info dictionary is the one a magnet names, and that it is safe to look at further.

    Args:
        raw_info: the bytes as they came from a peer.
        expected_v2: the magnet's v2 info-hash (32 bytes).

    Raises:
        MetainfoError: it is another one, or breaks the format.
        UnsafePathError: its name or a path breaks a rule.
        UnsignedError: the torrent holds no `weightshare.json`.
    """
    found = hashlib.sha256(raw_info).digest()
    if found != expected_v2:
        raise MetainfoError(
            f"The info dictionary has the hash {found.hex()}, not the magnet's {expected_v2.hex()}.",
            field="",
        )
    info = parse_info(raw_info)
    manifest = next((file for file in info.files if file.path == MANIFEST_NAME), None)
    if manifest is None:
        raise UnsignedError(
            f"The torrent holds no {MANIFEST_NAME}, so nobody vouches for its files.",
            hint="It was not published with weightshare. --unsigned takes it all the same, and proves nothing.",
        )
    if not 0 < manifest.size <= MAX_ENVELOPE:
        raise MetainfoError(
            f"The torrent's {MANIFEST_NAME} has {manifest.size:,} bytes; 1 to {MAX_ENVELOPE:,} are expected.",
            field=MANIFEST_NAME,
        )
    return info


def match(info: Info, verified: VerifiedManifest | Examined) -> None:
    """Prove that a torrent holds exactly what was signed: files, sizes, roots, name and shape.

    Raises:
        TreeMismatchError: it does not; the message names up to ten differences, the facts the first.
    """
    facts = verified.manifest.torrent
    differences: list[tuple[str, str]] = []
    for what, found, expected in (
        ("name", quoted(info.name), quoted(facts.name)),
        ("piece length", info.piece_length, facts.piece_length),
        ("hybrid", info.hybrid, facts.hybrid),
        ("single file", info.single_file, False),
        ("adopted torrent", "none", _adopted(facts.adopts)),
    ):
        if found != expected:
            differences.append(("", f"{what} is {found}, signed is {expected}"))
    signed = {entry.path: (entry.size, entry.pieces_root) for entry in verified.manifest.files}
    held = {file.path: (file.size, file.pieces_root) for file in info.files if file.path != MANIFEST_NAME}
    for path in sorted(signed.keys() | held.keys(), key=str.encode):
        problem = _difference(held.get(path), signed.get(path))
        if problem:
            differences.append((path, problem))
    if not differences:
        return
    lines = [f"{quoted(path)}: {text}" if path else text for path, text in differences[:_MAX_NAMED]]
    more = len(differences) - len(lines)
    raise TreeMismatchError(
        "The torrent is not what was signed: " + "; ".join(lines) + (f"; and {more} more." if more else "."),
        hint="Nothing of it is kept. Ask the publisher for the right link.",
        path=differences[0][0],
        problem=differences[0][1],
    )


def _adopted(info_hash: bytes | None) -> str:
    return "none" if info_hash is None else info_hash.hex()


_Shape = tuple[int, bytes | None]


def _difference(held: _Shape | None, signed: _Shape | None) -> str:
    if signed is None:
        return "in the torrent, not signed"
    if held is None:
        return "signed, not in the torrent"
    if held[0] != signed[0]:
        return f"{held[0]} bytes, signed are {signed[0]}"
    return "" if held[1] == signed[1] else "another pieces root than was signed"


def check_revoked(verified: VerifiedManifest, seen: Iterable[VerifiedManifest]) -> None:
    """Refuse a release that its own publisher has revoked in another.

    Args:
        verified: the release.
        seen: other releases; only those of the same publisher count.

    Raises:
        RevokedError: one of them revokes it.
    """
    for other in seen:
        if other.fingerprint != verified.fingerprint:
            continue
        for revocation in other.manifest.revokes:
            if revocation.manifest == verified.payload_sha256:
                raise RevokedError(
                    f"{verified.release} was revoked by its publisher in {other.release}: "
                    f"{revocation.reason or 'no reason given'}.",
                    hint=f"Fetch {other.release} instead.",
                    release=verified.release,
                    reason=revocation.reason,
                )


def judge(verified: VerifiedManifest, known: KnownPublishers, policy: Policy) -> tuple[str, ...]:
    """Hold a proven release against what the user allows. Disk space is the caller's to check.

    Returns:
        Warnings: sentences for the user.

    Raises:
        RevokedError: its key is revoked, or its publisher revoked this release in another that was seen.
        RollbackError: it is older than one already seen, and was picked as the latest.
        PickleError: it holds pickles, which were not allowed; its fact `paths` names them.
    """
    manifest = verified.manifest
    warnings = list(verified.warnings)
    pin = known.find(verified.fingerprint) or verified.pin
    if pin.revoked:
        raise RevokedError(f"The key {pin.fingerprint} was revoked.", fingerprint=pin.fingerprint)
    check_revoked(verified, policy.seen)
    sequence, seen = manifest.model.sequence, pin.highest.get(manifest.model.id, -1)
    if sequence < seen:
        text = (
            f"{manifest.release} has sequence {sequence}, and {seen} was seen before: it is an older release."
        )
        if policy.latest:
            raise RollbackError(
                text, hint="Somebody may be hiding the newest one.", sequence=sequence, seen=seen
            )
        warnings.append(text)
    pickles = tuple(entry.path for entry in manifest.files if is_pickle(entry.path))
    if pickles and not policy.allow_pickle:
        raise PickleError(
            f"{manifest.release} holds {_some(pickles)}, which can run code when loaded.",
            hint="Add --allow-pickle if you trust the publisher that far.",
            paths=pickles,
        )
    code = [entry.path for entry in manifest.files if is_code(entry.path)]
    if code:
        warnings.append(f"It carries code, which weightshare never runs: {_some(code)}.")
    return tuple(warnings)


def _some(paths: list[str] | tuple[str, ...]) -> str:
    named = ", ".join(quoted(path) for path in paths[:_MAX_NAMED])
    return named if len(paths) <= _MAX_NAMED else f"{named} and {len(paths) - _MAX_NAMED} more"
