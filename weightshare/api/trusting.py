"""From a publisher's signature to a user's decision: whom to believe, whom to ask about, what to remember."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from weightshare.api.results import StrangerInfo
from weightshare.content.store import Home
from weightshare.errors import UnknownPublisherError
from weightshare.manifest.model import Manifest
from weightshare.trust import gate, publishers
from weightshare.trust.gate import VerifiedManifest
from weightshare.trust.keys import PublicKey, parse_fingerprint
from weightshare.trust.publishers import KnownPublishers, Pin

Confirm = Callable[[StrangerInfo], bool]


@dataclass(frozen=True, slots=True)
class Decision:
    """A manifest that may be used, and the pin that makes it so if it is new."""

    verified: VerifiedManifest
    new_pin: Pin | None


class Trustee:
    """Decides for one command with the user's known publishers, `--trust`, and a question where one can be asked.

    Args:
        home: where the known publishers are.
        trust: fingerprints to believe although they are unknown.
        confirm: asks the user about a stranger; None where nobody can be asked.
    """

    def __init__(self, home: Home, trust: Sequence[str] = (), confirm: Confirm | None = None) -> None:
        self._path: Path = home.known_publishers
        self._trust = {parse_fingerprint(text) for text in trust}
        self._confirm = confirm
        self.known = KnownPublishers.load(self._path)

    def decide(self, envelope: bytes, *, expect_publisher: bytes | None = None) -> Decision:
        """Verify an envelope, taking a stranger in if the user says so.

        Raises:
            TrustError, IntegrityError: it cannot be believed; see `trust.gate.verify`.
        """
        try:
            return Decision(gate.verify(envelope, self.known, expect_publisher=expect_publisher), None)
        except UnknownPublisherError as stranger:
            pin = self._take_in(envelope, stranger)
        known = self.known.add(pin)
        return Decision(gate.verify(envelope, known, expect_publisher=expect_publisher), pin)

    def remember(self, decision: Decision) -> None:
        """Write down a new pin and the highest sequence seen; only after every step of the gate."""
        model = decision.verified.manifest.model

        def change(known: KnownPublishers) -> KnownPublishers:
            pin = known.find(decision.verified.fingerprint)
            if pin is None and decision.new_pin is not None:
                pin = decision.new_pin
                known = known.add(pin)
            return known.with_highest(pin.name, model.id, model.sequence) if pin else known

        pin = self.known.find(decision.verified.fingerprint)
        seen = pin.highest.get(model.id, -1) if pin else -1
        if decision.new_pin is not None or seen < model.sequence:
            self.known = publishers.update(self._path, change)

    def _take_in(self, envelope: bytes, stranger: UnknownPublisherError) -> Pin:
        examined = gate.examine(envelope, self.known)
        fingerprint = examined.signer.fingerprint
        via = "--trust"
        if fingerprint not in self._trust:
            if self._confirm is None or not self._confirm(_stranger(examined.manifest, fingerprint)):
                raise stranger
            via = "asked"
        return new_pin(examined.manifest.publisher.name, examined.signer, via)


def new_pin(name: str, key: PublicKey, via: str, *, models: tuple[str, ...] = ("*",)) -> Pin:
    """A pin made today."""
    return Pin(
        name=name,
        fingerprint=key.fingerprint,
        key=key,
        models=models,
        added=datetime.now(UTC).date(),
        via=via,
    )


def _stranger(manifest: Manifest, fingerprint: str) -> StrangerInfo:
    return StrangerInfo(
        fingerprint=fingerprint,
        claimed_name=manifest.publisher.name,
        release=manifest.release,
        files=len(manifest.files),
        bytes=manifest.size,
        source=manifest.source.hub if manifest.source else "",
    )
