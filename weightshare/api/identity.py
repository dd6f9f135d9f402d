"""`keys`: the signing keys of this user."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from weightshare.content.home import Home
from weightshare.errors import KeyFileError, UsageError
from weightshare.trust.key_files import public_beside
from weightshare.trust.keys import PublicKey, create_key, list_keys
from weightshare.trust.post_quantum import (
    PostQuantumKey,
    PostQuantumSigner,
    create_post_quantum_key,
    post_quantum_path,
)

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
    path = home.keys / check_name(name)
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
        places = (path, home.keys / path) if len(path.parts) == 1 else (path,)
        # A key of one's own comes before a public half that somebody left here, and a folder is no key.
        candidates: list[Path | None] = [*places, *(public_beside(place) for place in places)]
        for place in candidates:
            if place is not None and place.exists() and not place.is_dir():
                return place
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


def check_name(name: str) -> str:
    """The name, if a key or a publisher can be called so.

    Raises:
        UsageError: it cannot.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is not a name.",
            hint="Use letters, digits, `.`, `_` and `-`, beginning with a letter or digit.",
        )
    return name
