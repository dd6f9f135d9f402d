"""`keys` and `trust`: the user's own signing keys, and the publishers whom the user knows."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

from weightshare.api.trusting import new_pin
from weightshare.content.store import Home
from weightshare.errors import KeyFileError, UsageError
from weightshare.trust import publishers
from weightshare.trust.key_files import public_beside
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


def trust_add(
    name: str, what: str, *, models: tuple[str, ...] = ("*",), replace: bool = False, home: Home | None = None
) -> Pin:
    """Pin a publisher by a fingerprint (`SHA256:…`) or a public key file.

    Raises:
        UsageError: neither a fingerprint nor a file.
        PinError: the name is pinned with another key, and `replace` was not said.
    """
    home = home or Home.default()
    _checked(name)
    path = Path(what).expanduser()
    if not what.startswith("SHA256:") and path.is_file():
        try:
            line = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise KeyFileError(f"{path} cannot be read as a public key: {error}.") from error
        pin = new_pin(name, PublicKey.parse(line.strip()), str(path), models=models)
    elif what.startswith("ssh-"):
        pin = new_pin(name, PublicKey.parse(what), "key line", models=models)
    else:
        pin = _fingerprint_pin(name, what, models)
    publishers.update(home.known_publishers, lambda known: known.add(pin, replace=replace))
    return pin


def trust_list(home: Home | None = None) -> tuple[Pin, ...]:
    """The known publishers."""
    return KnownPublishers.load((home or Home.default()).known_publishers).pins


def trust_remove(name: str, home: Home | None = None) -> None:
    """Forget a publisher.

    Raises:
        PinError: nobody is pinned under that name.
    """
    publishers.update((home or Home.default()).known_publishers, lambda known: known.remove(name))


def _fingerprint_pin(name: str, what: str, models: tuple[str, ...]) -> Pin:
    try:
        fingerprint = parse_fingerprint(what)
    except UsageError as error:
        raise UsageError(
            f"{what!r} is neither a fingerprint nor a public key file.",
            hint="Give SHA256:… as `ssh-keygen -lf KEY.pub` prints it, or the path of a .pub file.",
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
