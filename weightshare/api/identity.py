"""`keys` and `trust`: the user's own signing keys, and the publishers whom the user knows."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from weightshare.api.key_sources import (
    GITHUB,
    FoundKeys,
    checked_user,
    keys_in_file,
    keys_on_github,
    origin_of,
)
from weightshare.api.trusting import new_pin
from weightshare.content.store import Home
from weightshare.errors import KeyFileError, PinError, StoreError, UsageError
from weightshare.files import write_atomically
from weightshare.swarm.networks import Network
from weightshare.trust import allowed_signers, publishers
from weightshare.trust.allowed_signers import AllowedSigners
from weightshare.trust.key_files import public_beside
from weightshare.trust.key_types import is_key_type
from weightshare.trust.keys import PublicKey, create_key, list_keys, parse_fingerprint
from weightshare.trust.pins import Pin
from weightshare.trust.publishers import KnownPublishers

AGENT = "agent"
"""As `--key`: the only Ed25519 key that the ssh-agent holds. No key in the home folder may have this name."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def new_key(name: str, *, passphrase: str | None = None, home: Home | None = None) -> tuple[PublicKey, Path]:
    """Make a signing key in `home`, in OpenSSH format, readable by its owner alone.

    Raises:
        UsageError: not a name for a file.
        KeyFileError: there is one of that name; it is never replaced.
    """
    home = home or Home.default()
    if name == AGENT:
        raise UsageError(
            f"No key can be called {AGENT!r}: `--key {AGENT}` means the key that the ssh-agent holds.",
            hint="Give it your name as a publisher.",
        )
    path = home.keys / _checked(name)
    return create_key(path, name, passphrase), path


def own_keys(home: Home | None = None) -> list[tuple[str, PublicKey]]:
    """The signing keys in `home`, by name."""
    return list_keys((home or Home.default()).keys)


def find_key(key: str | Path | None, home: Home) -> Path:
    """The key file that is meant: a path, a name in `home`, or the only one there.

    Raises:
        KeyFileError: there is none, or more than one and none was named.
    """
    if key is not None:
        path = Path(key).expanduser()
        for place in (path, home.keys / path) if len(path.parts) == 1 else (path,):
            if place.exists():
                return place
            public = public_beside(place)
            if public is not None:
                return public
        raise KeyFileError(
            f"There is no key {str(key)!r}, neither as a file nor in {home.keys}.",
            hint="`weightshare keys list` shows your keys, `weightshare keys new NAME` makes one.",
        )
    names = [name for name, _ in list_keys(home.keys)]
    if len(names) == 1:
        return home.keys / names[0]
    if not names:
        raise KeyFileError(
            "There is no key to sign with.",
            hint="Make one with `weightshare keys new NAME`, or use one you have: --key ~/.ssh/id_ed25519, "
            "or --key agent for the one your ssh-agent holds.",
        )
    raise KeyFileError(f"Which key? There are {', '.join(names)}.", hint="Say so with --key NAME.")


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
    models: tuple[str, ...] = ("*",),
    only: Sequence[str] = (),
    saved: Path | None = None,
    replace: bool = False,
    network: str = "public",
    confirm: Callable[[FoundKeys], bool] | None = None,
    home: Home | None = None,
) -> Added:
    """Pin a publisher by a fingerprint, a public key file, or the keys their GitHub account lists.

    Args:
        name: what to call them.
        what: `SHA256:…`, a file, a public key written out, or `github:USER`.
        models: globs of the models the keys are for.
        only: fingerprints; of several keys, pin just these.
        saved: with `github:USER`, a file with what the account lists, instead of asking.
        replace: whether a name that is pinned with other keys gets these.
        network: how far a question may go.
        confirm: asked before the keys of an account are pinned; None pins them.
        home: where the known publishers are.

    Raises:
        UsageError: it is none of these.
        KeyFileError: no key that serves, or `only` names one that is not there.
        DownloadError: the account's host did not answer.
        PinError: the name is pinned with other keys and `replace` was not said, or the answer was no.
    """
    home = home or Home.default()
    _checked(name)
    path, wanted = Path(what).expanduser(), [parse_fingerprint(text) for text in only]
    account = what.startswith(GITHUB)
    if saved is not None and not account:
        raise UsageError(f"--from goes with {GITHUB}USER, not with {what!r}.")
    if account:
        user = checked_user(what.removeprefix(GITHUB))
        found = keys_in_file(saved) if saved is not None else keys_on_github(user, Network(network))
        via = origin_of(user)
    elif not what.startswith("SHA256:") and path.is_file():
        found, via = keys_in_file(path), str(path)
    elif " " in what and is_key_type(what.partition(" ")[0]):
        found, via = FoundKeys((PublicKey.parse(what),)), "key line"
    elif wanted:
        raise UsageError("--only chooses among the keys of a file or an account.")
    else:
        pins: tuple[Pin, ...] = (_fingerprint_pin(name, what, models),)
        publishers.update(home.known_publishers, lambda known: known.add(pins[0], replace=replace))
        return Added(pins)
    found = found.only(wanted)
    pins = tuple(new_pin(name, key, via, models=models) for key in found.keys)
    # Refused before anybody is asked, and again under the lock.
    KnownPublishers.load(home.known_publishers).add_together(pins, replace=replace)
    if account and confirm is not None and not confirm(found):
        raise PinError(f"Nothing was pinned for {name}.", name=name)
    publishers.update(home.known_publishers, lambda known: known.add_together(pins, replace=replace))
    return Added(pins, found.skipped, found.notes)


def trust_list(home: Home | None = None) -> tuple[Pin, ...]:
    """The known publishers."""
    return KnownPublishers.load((home or Home.default()).known_publishers).pins


def trust_remove(name: str, home: Home | None = None) -> None:
    """Forget a publisher.

    Raises:
        PinError: nobody is pinned under that name.
    """
    publishers.update((home or Home.default()).known_publishers, lambda known: known.remove(name))


def trust_export(
    *, out: Path | None = None, revoked: Path | None = None, home: Home | None = None
) -> AllowedSigners:
    """The known publishers as OpenSSH's `allowed_signers`.

    Args:
        out: where to write them; None writes nothing.
        revoked: where to write the keys that must not be believed, for `ssh-keygen -Y verify -r`.
        home: where the known publishers are.

    Raises:
        StoreError: the known publishers cannot be read, or a file cannot be written.
    """
    found = allowed_signers.export(KnownPublishers.load((home or Home.default()).known_publishers))
    for path, text in ((out, found.render()), (revoked, found.render_revoked())):
        if path is None:
            continue
        try:
            write_atomically(path.expanduser(), text.encode())
        except OSError as error:
            raise StoreError(f"{path} could not be written: {error.strerror or error}.") from error
    return found


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


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is not a name.",
            hint="Use letters, digits, `.`, `_` and `-`, beginning with a letter or digit.",
        )
    return name
