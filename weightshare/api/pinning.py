"""`trust`: whose releases and whose countersignatures this user believes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from weightshare.api.identity import check_name
from weightshare.api.key_sources import (
    GITHUB,
    FoundKeys,
    checked_user,
    keys_in_file,
    keys_on_github,
    origin_of,
)
from weightshare.api.teams import trust_team
from weightshare.api.trusting import new_pin
from weightshare.content.home import Home
from weightshare.errors import PinError, UsageError
from weightshare.swarm.networks import Network
from weightshare.trust import publishers
from weightshare.trust.key_types import is_key_type
from weightshare.trust.keys import PublicKey, parse_fingerprint
from weightshare.trust.pins import MIRROR_NAMESPACE, Pin
from weightshare.trust.publishers import KnownPublishers


@dataclass(frozen=True, slots=True)
class Added:
    """What `trust add` pinned.

    Attributes:
        pins: one for each key, all under one name.
        skipped: keys that do not serve, each with the reason.
        notes: what did not answer.
    """

    pins: tuple[Pin, ...]
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def trust_add(
    name: str,
    what: str,
    *,
    post_quantum: str | None = None,
    models: tuple[str, ...] = ("*",),
    only: Sequence[str] = (),
    saved: Path | None = None,
    mirror: bool = False,
    replace: bool = False,
    network: str = "public",
    confirm: Callable[[FoundKeys], bool] | None = None,
    home: Home | None = None,
) -> Added:
    """Pin a publisher by a fingerprint, public keys from a file or a GitHub account, or a team's newest root.

    With `mirror`, pin a mirror instead. A key that is pinned already becomes both when it is pinned as the other,
    unless `replace` is said.

    Args:
        name: what the user calls them.
        what: `SHA256:…`, a file of public keys, a public key written out, `github:USER`, or a root file.
        post_quantum: fingerprint of an ML-DSA-44 key that must sign too; a public key file may hold the key.
        models: globs of the models they may publish.
        only: fingerprints; of several keys, pin just these.
        saved: with `github:USER`, a file with what the account lists, instead of asking.
        mirror: it is a mirror's key: its countersignatures count, its releases do not.
        replace: drop what is pinned under this name, or for this key.
        network: how far a question may go.
        confirm: asked before the keys of an account are pinned; None pins them.
        home: where the known publishers are.

    Returns:
        The pin as it stands now.

    Raises:
        UsageError: it is none of these, or what only a publisher can have for a mirror.
        KeyFileError: no key that serves, or `only` names one that is not there.
        DownloadError: the account's host did not answer.
        PinError: the name is pinned with other keys and `replace` was not said, or the answer was no.
    """
    home = home or Home.default()
    check_name(name)
    path, account = Path(what).expanduser(), what.startswith(GITHUB)
    is_file = not account and not what.startswith("SHA256:") and path.is_file()
    if mirror and (models != ("*",) or post_quantum is not None or (is_file and is_root_file(path))):
        raise _no_mirror("Models, a second key and a team's root are for publishers.")
    if is_file and is_root_file(path):
        return Added((trust_team(name, path, models=models, replace=replace, home=home),))
    if saved is not None and not account:
        raise UsageError(f"--from goes with {GITHUB}USER, not with {what!r}.")
    if account:
        user = checked_user(what.removeprefix(GITHUB))
        found = keys_in_file(saved) if saved is not None else keys_on_github(user, Network(network))
        via = origin_of(user)
    elif is_file:
        found, via = keys_in_file(path), str(path)
    elif " " in what and is_key_type(what.partition(" ")[0]):
        found, via = FoundKeys((PublicKey.parse(what),)), "key line"
    elif only:
        raise UsageError("--only chooses among the keys of a file or an account.")
    else:
        found, via = FoundKeys(()), ""
    found = found.only([parse_fingerprint(text) for text in only])
    pins = tuple(new_pin(name, key, via, models=models) for key in found.keys)
    second = parse_fingerprint(post_quantum) if post_quantum is not None else found.post_quantum
    pins = pins or (_fingerprint_pin(name, what, models),)
    pins = _as_mirror(pins) if mirror else _with_second(pins, second)
    # Refused before anybody is asked, and again under the lock.
    KnownPublishers.load(home.known_publishers).add_together(pins, replace=replace)
    if account and confirm is not None and not confirm(found):
        raise PinError(f"Nothing was pinned for {name}.", name=name)
    known = publishers.update(home.known_publishers, lambda known: known.add_together(pins, replace=replace))
    fingerprints = {pin.fingerprint for pin in pins}
    now = tuple(pin for pin in known.pins if pin.fingerprint in fingerprints)
    return Added(now, found.skipped, found.notes)


def _as_mirror(pins: tuple[Pin, ...]) -> tuple[Pin, ...]:
    """The pin of a mirror, which is one key: several would count as several mirrors."""
    if len(pins) > 1:
        raise _no_mirror(f"There are {len(pins)} keys. Say which one with --only SHA256:…")
    return (dataclasses.replace(pins[0], namespaces=(MIRROR_NAMESPACE,), post_quantum=""),)


def _no_mirror(hint: str) -> UsageError:
    return UsageError("A mirror is one Ed25519 key, and vouches for bytes of any release.", hint=hint)


def _with_second(pins: tuple[Pin, ...], second: str) -> tuple[Pin, ...]:
    """The pins, with the ML-DSA-44 key that must sign too."""
    if not second:
        return pins
    if len(pins) > 1:
        raise UsageError(
            f"An ML-DSA-44 key belongs to one Ed25519 key, and there are {len(pins)} of them.",
            hint="Say which one with --only SHA256:…",
        )
    return (dataclasses.replace(pins[0], post_quantum=second),)


def is_root_file(path: Path) -> bool:
    """Whether a file is JSON, as a team's root is and no public key."""
    try:
        with path.open("rb") as file:
            return file.read(1) == b"{"
    except OSError:
        return False


def trust_list(home: Home | None = None) -> tuple[Pin, ...]:
    """The known publishers."""
    return KnownPublishers.load((home or Home.default()).known_publishers).pins


def trust_remove(name: str, home: Home | None = None, *, mirror: bool = False) -> None:
    """Forget a publisher or a mirror; with `mirror`, that they are a mirror and nothing else.

    Raises:
        PinError: nobody is pinned under that name, or no mirror.
    """
    publishers.update(
        (home or Home.default()).known_publishers, lambda known: known.remove(name, mirror=mirror)
    )


def _fingerprint_pin(name: str, what: str, models: tuple[str, ...]) -> Pin:
    try:
        fingerprint = parse_fingerprint(what)
    except UsageError as error:
        raise UsageError(
            f"{what!r} is neither a fingerprint nor a public key file.",
            hint="Give SHA256:… as `ssh-keygen -lf KEY.pub` prints it, the path of a .pub file, "
            "or github:USER.",
        ) from error
    return Pin(
        name=name,
        fingerprint=fingerprint,
        key=None,
        models=models,
        added=datetime.now(UTC).date(),
        via="fingerprint",
    )
