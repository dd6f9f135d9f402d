"""From a publisher's signature to a user's decision: whom to believe, whom to ask about, what to remember."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from weightshare.api.earlier import releases_of
from weightshare.api.results import StrangerInfo
from weightshare.content.home import Home
from weightshare.content.store import Store
from weightshare.errors import KeyFileError, UnknownPublisherError
from weightshare.manifest.envelope import Envelope
from weightshare.trust import gate, publishers
from weightshare.trust.gate import Examined, VerifiedManifest
from weightshare.trust.keys import PublicKey, parse_fingerprint
from weightshare.trust.publishers import KnownPublishers, Pin
from weightshare.trust.signatures import sound_post_quantum_keys
from weightshare.trust.teams import Team

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
        self._releases: dict[str, tuple[VerifiedManifest, ...]] = {}

    def releases_of(self, store: Store, fingerprint: str) -> tuple[VerifiedManifest, ...]:
        """The releases of a publisher that are here; looked up once, as a seeder asks for each of them."""
        if fingerprint not in self._releases:
            self._releases[fingerprint] = releases_of(store, fingerprint, self.known)
        return self._releases[fingerprint]

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
        verified = decision.verified
        model = verified.manifest.model

        def change(known: KnownPublishers) -> KnownPublishers:
            pin = known.find(verified.fingerprint) or known.find(verified.pin.fingerprint)
            if pin is None and decision.new_pin is not None:
                pin = decision.new_pin
                known = known.add(pin)
            if pin is None:
                return known
            if verified.team is not None and _is_news(verified.team, pin):
                known = known.with_team(pin.fingerprint, verified.team)
            return known.with_highest(pin.name, model.id, model.sequence)

        pin = verified.pin
        news = verified.team is not None and _is_news(verified.team, pin)
        if decision.new_pin is not None or news or pin.highest.get(model.id, -1) < model.sequence:
            self.known = publishers.update(self._path, change)
            self._releases.clear()

    def _take_in(self, envelope: bytes, stranger: UnknownPublisherError) -> Pin:
        examined = gate.examine(envelope, self.known)
        via = "--trust"
        if examined.fingerprint not in self._trust:
            if self._confirm is None or not self._confirm(_stranger(examined)):
                raise stranger
            via = "asked"
        name, team = examined.manifest.publisher.name, examined.standing.team
        if team is not None:
            return team_pin(name, team, via)
        return replace(new_pin(name, examined.signer, via), post_quantum=_second_key(examined))


def _is_news(team: Team, pin: Pin) -> bool:
    """Whether the team is more than the pin says: a single key so far, or an older root."""
    return pin.team is None or pin.team.version < team.version


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


def team_pin(name: str, team: Team, via: str, *, models: tuple[str, ...] = ("*",)) -> Pin:
    """A pin of a team made today."""
    pin = Pin(name, team.fingerprint, models=models, added=datetime.now(UTC).date(), via=via)
    return pin.with_team(team)


def _second_key(examined: Examined) -> str:
    """Fingerprint of the ML-DSA-44 key that signed too, to be demanded from now on; empty if there is none."""
    with suppress(KeyFileError):  # an installation that cannot check such a signature cannot demand it
        for key in sound_post_quantum_keys(Envelope.parse(examined.envelope)):
            if key.fingerprint in examined.manifest.publisher.keys:
                return key.fingerprint
    return ""


def _stranger(examined: Examined) -> StrangerInfo:
    manifest, team = examined.manifest, examined.standing.team
    return StrangerInfo(
        fingerprint=examined.fingerprint,
        claimed_name=manifest.publisher.name,
        release=manifest.release,
        files=len(manifest.files),
        bytes=manifest.size,
        source=manifest.source.hub if manifest.source else "",
        team=team.rule if team is not None else "",
    )


def team_of(home: Home, name: str) -> Team | None:
    """The team that publishes models of this name, if the user knows one."""
    known = KnownPublishers.load(home.known_publishers)
    return next((pin.team for pin in known.named(name.partition("/")[0]) if pin.team is not None), None)
