"""`keys` and `trust`: the user's own signing keys, and the publishers whom the user knows."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from weightshare.api.trusting import new_pin
from weightshare.content.store import Home
from weightshare.errors import KeyFileError, UsageError
from weightshare.trust import publishers
from weightshare.trust.keys import PublicKey, create_key, list_keys, parse_fingerprint
from weightshare.trust.pins import MIRROR_NAMESPACE, Pin
from weightshare.trust.post_quantum import (
    KEY_TYPE,
    PostQuantumKey,
    PostQuantumSigner,
    create_post_quantum_key,
    post_quantum_path,
)
from weightshare.trust.publishers import KnownPublishers

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def new_key(name: str, *, passphrase: str | None = None, home: Home | None = None) -> tuple[PublicKey, Path]:
    """Make a signing key in `home`, in OpenSSH format, readable by its owner alone.

    Raises:
        UsageError: not a name for a file.
        KeyFileError: there is one of that name; it is never replaced.
    """
    home = home or Home.default()
    path = home.keys / _checked(name)
    return create_key(path, name, passphrase), path


def new_second_key(path: Path, *, passphrase: str | None = None) -> PostQuantumKey:
    """Make the ML-DSA-44 half of a key that was just made, beside it.

    Raises:
        KeyFileError: there is one, or this installation knows no ML-DSA.
    """
    return create_post_quantum_key(path, passphrase)


def second_key(name: str, home: Home | None = None) -> PostQuantumKey | None:
    """The public ML-DSA-44 half of a key in `home`, if it has one.

    Raises:
        KeyFileError: it cannot be read.
    """
    half = post_quantum_path((home or Home.default()).keys / name)
    public = half.with_name(f"{half.name}.pub")
    return PostQuantumKey.parse(public.read_text("ascii", "replace")) if public.is_file() else None


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
        if path.exists():
            return path
        if _NAME.fullmatch(str(key)) and (home.keys / str(key)).exists():
            return home.keys / str(key)
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
            hint="Make one with `weightshare keys new NAME`, or use one you have: --key ~/.ssh/id_ed25519.",
        )
    raise KeyFileError(f"Which key? There are {', '.join(names)}.", hint="Say so with --key NAME.")


def second_signer(path: Path, passphrase: Callable[[], str] | None) -> PostQuantumSigner | None:
    """The ML-DSA-44 half of a key, if it has one beside it.

    Args:
        path: the Ed25519 key file.
        passphrase: asked only if the other half is encrypted.

    Raises:
        KeyFileError: it cannot be read or used here, or the passphrase is wrong.
    """
    half = post_quantum_path(path)
    return PostQuantumSigner.load(half, passphrase) if half.exists() else None


def trust_add(
    name: str,
    what: str,
    *,
    post_quantum: str | None = None,
    models: tuple[str, ...] = ("*",),
    mirror: bool = False,
    replace: bool = False,
    home: Home | None = None,
) -> Pin:
    """Pin a publisher, or a mirror.

    A key that is pinned already becomes both when it is pinned as the other, unless `replace` is said.

    Args:
        name: what the user calls them.
        what: a fingerprint (`SHA256:…`), a public key file, or a team's newest root file.
        post_quantum: fingerprint of an ML-DSA-44 key that must sign too; a public key file may hold the key.
        models: globs of the models they may publish.
        mirror: it is a mirror's key: its countersignatures count, its releases do not.
        replace: drop what is pinned under this name, or for this key.
        home: where the known publishers are.

    Returns:
        The pin as it stands now.

    Raises:
        UsageError: neither a fingerprint nor a file, or what only a publisher can have for a mirror.
        PinError: the name is pinned with another key, and `replace` was not said.
    """
    home = home or Home.default()
    _checked(name)
    path = Path(what).expanduser()
    if mirror and (models != ("*",) or post_quantum is not None or is_root_file(path)):
        raise UsageError(
            "A mirror is one Ed25519 key, and vouches for bytes of any release.",
            hint="Models, a second key and a team's root are for publishers.",
        )
    if not what.startswith("SHA256:") and path.is_file() and is_root_file(path):
        from weightshare.api.teams import trust_team

        return trust_team(name, path, models=models, replace=replace, home=home)
    if not what.startswith("SHA256:") and path.is_file():
        key, second = _public_keys(path)
        pin = new_pin(name, key, str(path), models=models)
        pin = dataclasses.replace(pin, post_quantum=second.fingerprint if second else "")
    elif what.startswith("ssh-"):
        pin = new_pin(name, PublicKey.parse(what), "key line", models=models)
    else:
        pin = _fingerprint_pin(name, what, models)
    if post_quantum is not None:
        pin = dataclasses.replace(pin, post_quantum=parse_fingerprint(post_quantum))
    if mirror:
        pin = dataclasses.replace(pin, namespaces=(MIRROR_NAMESPACE,), post_quantum="")
    known = publishers.update(home.known_publishers, lambda known: known.add(pin, replace=replace))
    return next((entry for entry in known.pins if entry.fingerprint == pin.fingerprint), pin)


def _public_keys(path: Path) -> tuple[PublicKey, PostQuantumKey | None]:
    """The keys in a public key file: an Ed25519 key, and perhaps an ML-DSA-44 key on a line of its own."""
    try:
        lines = [line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise KeyFileError(f"{path} cannot be read as a public key: {error}.") from error
    second = [PostQuantumKey.parse(line) for line in lines if line.startswith(KEY_TYPE)]
    first = [line for line in lines if not line.startswith(KEY_TYPE)]
    return PublicKey.parse(first[0] if first else ""), second[0] if second else None


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
