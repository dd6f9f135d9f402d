"""The publishers a user knows: pinned keys and teams, and the highest sequence seen of each model.

The file is the root of all trust here, so it is read strictly (a malformed line stops everything and is
named), and written whole: to a temporary file, synced, and renamed, under a lock. It can be edited by hand;
comments are not kept by the next change. A team's roots lie beside it, in `roots/NAME/N.root.json`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from weightshare.errors import PinError, StoreError
from weightshare.files import write_atomically
from weightshare.trust.pin_file import locked, with_roots, write_roots
from weightshare.trust.pins import MIRROR_NAMESPACE, NAMESPACE, Pin, known_namespaces
from weightshare.trust.teams import Team

__all__ = ["KnownPublishers", "Pin", "update"]

_HEADER = "# Publishers this user trusts, one a line; see `weightshare trust --help`.\n"
_MAX_FILE = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class KnownPublishers:
    """The pins, in the order of the file. Immutable: a change gives another one."""

    pins: tuple[Pin, ...] = ()

    @classmethod
    def parse(cls, text: str) -> KnownPublishers:
        """Read the file's text.

        Raises:
            StoreError: a line is malformed; its fact `line` is the number, from 1.
        """
        pins: list[Pin] = []
        for number, line in enumerate(text.split("\n"), 1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            try:
                pins.append(Pin.parse(line))
            except ValueError as error:
                raise StoreError(
                    f"Line {number} of the known publishers is malformed: {error}.",
                    hint="Mend or remove that line; nothing is trusted while it cannot be read.",
                    line=number,
                ) from error
        return cls(tuple(pins))

    @classmethod
    def load(cls, path: Path) -> KnownPublishers:
        """Read the file; one that is not there is empty.

        Raises:
            StoreError: it cannot be read, or a line is malformed.
        """
        try:
            with path.open("rb") as file:
                data = file.read(_MAX_FILE + 1)
        except FileNotFoundError:
            return cls()
        except OSError as error:
            raise StoreError(f"{path} cannot be read: {error.strerror}.") from error
        if len(data) > _MAX_FILE:
            raise StoreError(f"{path} is too large to be a list of publishers.")
        try:
            parsed = cls.parse(data.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise StoreError(f"{path} is not UTF-8 at byte {error.start}.") from error
        return cls(tuple(with_roots(pin, path.parent) for pin in parsed.pins))

    def render(self) -> str:
        """The file's text."""
        return _HEADER + "".join(f"{pin.render()}\n" for pin in self.pins)

    def save(self, path: Path) -> None:
        """Write the file (0600) in one step; after a crash there is the old one or the new one.

        Raises:
            StoreError: the disk refuses.
        """
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            for pin in self.pins:  # the roots first: a line never names one that is not there
                write_roots(pin, path.parent)
            write_atomically(path, self.render().encode(), mode=0o600)
        except OSError as error:
            raise StoreError(f"{path} could not be written: {error.strerror}.") from error

    def find(self, fingerprint: str) -> Pin | None:
        """The pin of a publisher's key; a revoked one before any other. A mirror's key is not found."""
        return self._pinned(fingerprint, NAMESPACE)

    def find_mirror(self, fingerprint: str) -> Pin | None:
        """The pin of a mirror's key; a revoked one before any other. A publisher's key is not found."""
        return self._pinned(fingerprint, MIRROR_NAMESPACE)

    def named(self, name: str) -> tuple[Pin, ...]:
        """All publishers of a name, no mirrors; letter case does not count, lest `Acme` pass beside `acme`."""
        return tuple(pin for pin in self._called(name) if pin.publishes)

    def _pinned(self, fingerprint: str, namespace: str) -> Pin | None:
        # A key that was revoked is out of its owner's hands, whatever it was pinned for.
        found = [
            pin
            for pin in self.pins
            if pin.fingerprint == fingerprint and (pin.revoked or namespace in pin.namespaces)
        ]
        return next((pin for pin in found if pin.revoked), found[0] if found else None)

    def _called(self, name: str) -> tuple[Pin, ...]:
        return tuple(pin for pin in self.pins if pin.name and pin.name.casefold() == name.casefold())

    def add_together(self, pins: Sequence[Pin], replace: bool = False) -> KnownPublishers:
        """The publishers with all the keys of one more, as one source names them.

        Args:
            pins: the keys, all under one name.
            replace: whether to drop what else is pinned under this name.

        Raises:
            PinError: the name is pinned with another set of keys, or see `add`.
        """
        wanted = frozenset(pin.fingerprint for pin in pins)
        known = self
        for name in dict.fromkeys(pin.name for pin in pins):
            pinned = {pin.fingerprint for pin in self.named(name) if not pin.revoked}
            if pinned and pinned != wanted and max(len(pinned), len(wanted)) > 1 and not replace:
                new, gone = sorted(wanted - pinned), sorted(pinned - wanted)
                raise PinError(
                    f"{name} is pinned with another set of keys: "
                    + "; ".join(
                        f"{what} {', '.join(keys)}"
                        for what, keys in (("not pinned is", new), ("no longer there is", gone))
                        if keys
                    )
                    + ".",
                    hint="If they told you of the change by a way you trust, add --replace.",
                    name=name,
                    pinned=sorted(pinned),
                    fingerprints=sorted(wanted),
                )
        for pin in pins:
            known = known.add(pin, replace, beside=wanted)
        return known

    def add(
        self, pin: Pin, replace: bool = False, *, beside: frozenset[str] = frozenset()
    ) -> KnownPublishers:
        """The publishers with one more; what was seen of the same key before is kept.

        A key that is pinned already takes on what it is pinned for now, and loses nothing unless `replace` is said.
        A publisher and a mirror may share a name, as they are asked for in different places; two publishers may not.

        Args:
            pin: the publisher.
            replace: whether to drop what is pinned under this name or for this key.
            beside: fingerprints that may be pinned under the same name.

        Raises:
            PinError: the name is pinned with another key, or the key under another name, or it is revoked.
        """
        others = [
            p
            for p in self._called(pin.name)
            if p.fingerprint not in {pin.fingerprint, *beside} and set(p.namespaces) & set(pin.namespaces)
        ]
        same = [p for p in self.pins if p.fingerprint == pin.fingerprint]
        if not replace and not pin.revoked:
            if others:
                raise PinError(
                    f"{pin.name} is pinned with another key, {others[0].fingerprint}.",
                    hint="If they told you of a new key by a way you trust, add --replace.",
                    name=pin.name,
                    pinned=others[0].fingerprint,
                    fingerprint=pin.fingerprint,
                )
            for known in same:
                if known.revoked:
                    raise PinError(
                        f"The key {pin.fingerprint} is revoked.",
                        hint="A revoked key is believed again only with --replace.",
                        name=pin.name,
                        fingerprint=pin.fingerprint,
                    )
                if known.name.casefold() != pin.name.casefold():
                    raise PinError(
                        f"The key {pin.fingerprint} is pinned under the name {known.name}.",
                        hint=f"Use that name, or remove it first: weightshare trust remove {known.name}",
                        name=known.name,
                        fingerprint=pin.fingerprint,
                    )
        dropped = {id(known) for known in ([*others, *same] if replace else same)}
        kept = tuple(known for known in self.pins if id(known) not in dropped)
        return KnownPublishers((*kept, _merged(pin if replace else _joined(pin, same), same)))

    def remove(self, name: str, *, mirror: bool = False) -> KnownPublishers:
        """The publishers without a name; a fingerprint serves as a name too.

        Args:
            name: who is meant, publisher or mirror.
            mirror: take away no more than its being a mirror; a publisher stays one.

        Raises:
            PinError: nobody of that name is pinned, or no mirror.
        """
        gone = {id(pin) for pin in (*self._called(name), *(p for p in self.pins if p.fingerprint == name))}
        if mirror:
            gone &= {id(pin) for pin in self.pins if pin.mirrors}
        if not gone:
            what = "a mirror" if mirror else "pinned"
            raise PinError(f"{name} is not {what}.", hint="weightshare trust list", name=name)
        left = []
        for pin in self.pins:
            if id(pin) not in gone:
                left.append(pin)
            elif mirror and pin.publishes:
                left.append(replace(pin, namespaces=(NAMESPACE,)))
        return KnownPublishers(tuple(left))

    def with_team(self, fingerprint: str, team: Team) -> KnownPublishers:
        """The publishers, with the pin of this fingerprint turned into the team, or its roots brought up to date."""
        return KnownPublishers(
            tuple(
                pin.with_team(team)
                if pin.fingerprint == fingerprint and pin.publishes and not pin.revoked
                else pin
                for pin in self.pins
            )
        )

    def with_highest(self, name: str, model_id: str, sequence: int) -> KnownPublishers:
        """The publishers, with a sequence noted as seen for a model of this name; it never falls."""
        pins = []
        for pin in self.pins:
            if (
                pin.name == name
                and pin.publishes
                and not pin.revoked
                and sequence > pin.highest.get(model_id, -1)
            ):
                pin = replace(pin, highest=MappingProxyType({**pin.highest, model_id: sequence}))
            pins.append(pin)
        return KnownPublishers(tuple(pins))


def update(path: Path, change: Callable[[KnownPublishers], KnownPublishers]) -> KnownPublishers:
    """Read, change and write the file under a lock, so that two processes do not undo each other.

    Args:
        path: the file.
        change: gives the publishers to write for those that were read.

    Raises:
        StoreError: the file is malformed, or the disk refuses.
        StoreLockedError: another process does not let go of it.
    """
    with locked(path):
        before = KnownPublishers.load(path)
        after = change(before)
        if after != before:
            after.save(path)
        return after


def _joined(pin: Pin, same: list[Pin]) -> Pin:
    """The pin with what its key is believed for already; being a mirror too changes nothing for a publisher."""
    publisher = next((known for known in same if known.publishes), None)
    if publisher is not None and not pin.publishes and not pin.revoked:
        pin = replace(publisher, key=publisher.key or pin.key, namespaces=pin.namespaces)
    elif publisher is not None and not pin.root:
        # Said again in fewer words: a second key that must sign, or a team's roots, are not forgotten for that.
        pin = replace(
            pin,
            post_quantum=pin.post_quantum or publisher.post_quantum,
            root=publisher.root,
            was=publisher.was,
            team=publisher.team,
        )
    held = {name for known in (pin, *same) for name in known.namespaces}
    return replace(pin, namespaces=known_namespaces(held))


def _merged(pin: Pin, same: list[Pin]) -> Pin:
    highest = dict(pin.highest)
    key = pin.key
    for known in same:
        key = key or known.key
        for model, sequence in known.highest.items():
            highest[model] = max(sequence, highest.get(model, 0))
    return replace(pin, key=key, highest=MappingProxyType(highest))
