"""Teams with keys that are the same each time, and releases that they sign."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from datetime import UTC, datetime

from tests.builders_releases import manifest, signer
from weightshare.manifest.envelope import Envelope
from weightshare.manifest.model import Manifest, Publisher
from weightshare.trust import roots
from weightshare.trust.keys import FileSigner
from weightshare.trust.publishers import Pin
from weightshare.trust.signing import add_signature, unsigned
from weightshare.trust.teams import Root, Team

ALICE, BOB, CAROL, DAVE, MALLORY = (signer(seed) for seed in (11, 12, 13, 14, 66))
NOW = datetime(2026, 11, 22, tzinfo=UTC)


def root(
    keys: Iterable[FileSigner],
    threshold: int,
    by: Iterable[FileSigner],
    *,
    previous: Root | None = None,
    keep: Iterable[bytes] = (),
    name: str = "acme",
) -> Root:
    """A root for these keys, signed by those."""
    made = roots.draft(
        name, [key.public_key for key in keys], threshold, previous=previous, keep=keep, now=NOW
    )
    for key in by:
        made = roots.sign(made, key)
    return made


def team(*chain: Root) -> Team:
    """The team that these roots make, proven."""
    return roots.start([one.raw for one in chain])


def first() -> Root:
    """Two of Alice, Bob and Carol."""
    return root((ALICE, BOB, CAROL), 2, (ALICE, BOB))


def rotated(*, keep: Iterable[bytes] = ()) -> Root:
    """Bob went and Dave came."""
    return root((ALICE, CAROL, DAVE), 2, (ALICE, CAROL, DAVE), previous=first(), keep=keep)


def team_manifest(under: Root, *, sequence: int = 5, model: str = "acme/m7b") -> Manifest:
    """A manifest that a team signs under this root."""
    keys = tuple(key.fingerprint for key in under.releases.keys)
    made = manifest(model=model, sequence=sequence)
    return dataclasses.replace(made, publisher=Publisher("acme", keys, under.version))


def signed(what: Manifest, chain: Iterable[Root], *by: FileSigner) -> Envelope:
    """The manifest with these roots beside it, signed by these keys whether or not they may."""
    envelope = unsigned(what, [one.raw for one in chain])
    for key in by:
        everybody = Publisher(what.publisher.name, (*what.publisher.keys, key.public_key.fingerprint))
        envelope = add_signature(envelope, everybody, key)
    return envelope


def team_pin(of: Team, name: str = "acme") -> Pin:
    """A pin of a team whose roots are known."""
    return Pin(name, of.fingerprint).with_team(of)
