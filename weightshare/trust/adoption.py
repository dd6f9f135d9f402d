"""Whether a detached manifest is that of a v1 torrent: the gate of SPEC.md, section A, without the swarm's part.

SHA-1 names the torrent and proves nothing of its files: of each the signed SHA-256 has to be found on the disk.
"""

from __future__ import annotations

from weightshare.errors import TreeMismatchError
from weightshare.manifest.text import quoted
from weightshare.manifest.v1_info import V1Info
from weightshare.trust.verification import Examined, VerifiedManifest

_MAX_NAMED = 10
_HINT = "Nothing of it is kept. Ask whoever signed the manifest for the right link."


def check_adopts(verified: VerifiedManifest | Examined, v1_hash: bytes) -> None:
    """Prove that a manifest speaks of the v1 torrent that a link names.

    Args:
        verified: the manifest, its signature checked.
        v1_hash: the link's v1 info-hash (20 bytes).

    Raises:
        TreeMismatchError: it speaks of another one, or of none.
    """
    adopts = verified.manifest.torrent.adopts
    if adopts == v1_hash:
        return
    what = f"adopts the torrent {adopts.hex()}" if adopts is not None else "adopts no torrent"
    raise TreeMismatchError(
        f"The manifest {what}, and the link names {v1_hash.hex()}.", hint=_HINT, path="", problem=what
    )


def match_adopted(info: V1Info, verified: VerifiedManifest | Examined) -> None:
    """Prove that a v1 torrent lists exactly what was signed: its name, and of each file path and size.

    Raises:
        TreeMismatchError: it does not; the message names up to ten differences, the facts the first.
    """
    check_adopts(verified, info.v1_hash)
    differences: list[tuple[str, str]] = []
    facts = verified.manifest.torrent
    if info.name != facts.name:
        differences.append(("", f"its name is {quoted(info.name)}, signed is {quoted(facts.name)}"))
    signed = {entry.path: entry.size for entry in verified.manifest.files}
    held = {file.path: file.size for file in info.files}
    for path in sorted(signed.keys() | held.keys(), key=str.encode):
        if path not in signed:
            differences.append((path, "in the torrent, not signed"))
        elif path not in held:
            differences.append((path, "signed, not in the torrent"))
        elif signed[path] != held[path]:
            differences.append((path, f"{held[path]} bytes, signed are {signed[path]}"))
    if not differences:
        return
    lines = [f"{quoted(path)}: {text}" if path else text for path, text in differences[:_MAX_NAMED]]
    more = len(differences) - len(lines)
    raise TreeMismatchError(
        "The torrent is not what was signed: " + "; ".join(lines) + (f"; and {more} more." if more else "."),
        hint=_HINT,
        path=differences[0][0],
        problem=differences[0][1],
    )
