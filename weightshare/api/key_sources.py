"""Where a publisher's public keys come from: a file, or the account they have on GitHub.

What an account lists is what its owner put there: keys to log in with, and keys to sign with. Only plain Ed25519
ones serve; the others are named, with the reason, and left.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from weightshare.api.downloads import download
from weightshare.errors import DownloadError, KeyFileError, ManifestError, UsageError
from weightshare.manifest import strict_json
from weightshare.manifest.text import escape, quoted
from weightshare.swarm.networks import Network
from weightshare.trust.key_types import is_key_type
from weightshare.trust.keys import PublicKey, read_key_file
from weightshare.trust.post_quantum import KEY_TYPE as POST_QUANTUM
from weightshare.trust.post_quantum import PostQuantumKey

GITHUB = "github:"
HOST_VARIABLE = "GH_HOST"

_GITHUB_HOST = "github.com"
_MAX_LIST = 256 * 1024
_MAX_KEYS = 500
# Letters, digits and single hyphens, 39 at most; accounts that a company manages end in `_` and a short code.
_USER = re.compile(r"(?=.{1,39}\Z)[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*(?:_[A-Za-z0-9]+)?", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?(?::[0-9]{1,5})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class FoundKeys:
    """The keys of one source.

    Attributes:
        keys: plain Ed25519 keys, each once.
        skipped: what else there was, each with the reason.
        notes: what did not answer.
        post_quantum: fingerprint of the ML-DSA-44 key in a publisher's own file; empty if there is none.
    """

    keys: tuple[PublicKey, ...]
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    post_quantum: str = ""

    def only(self, fingerprints: Iterable[str]) -> FoundKeys:
        """Those of the keys that are named; all if none is.

        Raises:
            KeyFileError: one that is named is not there.
        """
        wanted = tuple(dict.fromkeys(fingerprints))
        if not wanted:
            return self
        held = {key.fingerprint: key for key in self.keys}
        for fingerprint in wanted:
            if fingerprint not in held:
                raise KeyFileError(
                    f"{fingerprint} is not among the keys found: {', '.join(held)}.",
                    fingerprint=fingerprint,
                    found=list(held),
                )
        return replace(self, keys=tuple(held[fingerprint] for fingerprint in wanted))


def keys_in_file(path: Path) -> FoundKeys:
    """The keys of a file: one a line as in `.pub` files, or the JSON list of GitHub's API.

    A line of its own may hold the ML-DSA-44 key that signs beside an Ed25519 one.

    Raises:
        KeyFileError: it cannot be read, holds something else, or no key that serves.
    """
    return _some(_read(read_key_file(path.expanduser(), _MAX_LIST), str(path)), str(path))


def keys_on_github(user: str, network: Network) -> FoundKeys:
    """The keys that a GitHub account lists, to log in with and to sign with.

    Args:
        user: the account's name; the host is github.com, or `GH_HOST` as for GitHub's own `gh`.
        network: how far the question may go.

    Raises:
        UsageError: no name of an account, or of a host.
        DownloadError: the host did not answer with a list of keys.
        KeyFileError: it lists no key that serves, or there is no such account.
    """
    checked_user(user)
    host = github_host()
    found: list[FoundKeys] = []
    notes = []
    for url in _addresses(host, user):
        try:
            found.append(_read(download(url, network, limit=_MAX_LIST, same_origin=True), url))
        except DownloadError as error:
            if error.facts.get("status") != 404:
                raise DownloadError(error.message, hint=_instead(host, user), **error.facts) from error
            notes.append(f"{url} is not there (404).")
    if not found:
        raise KeyFileError(
            f"{host} knows no account {user!r}: {' '.join(notes)}", hint="Check how it is spelt.", user=user
        )
    keys = dict.fromkeys(key for each in found for key in each.keys)
    skipped = dict.fromkeys(text for each in found for text in each.skipped)
    return _some(FoundKeys(tuple(keys), tuple(skipped), tuple(notes)), f"{user} on {host}")


def github_host() -> str:
    """The host of the accounts: what `GH_HOST` says, else github.com.

    Raises:
        UsageError: it says no host.
    """
    host = os.environ.get(HOST_VARIABLE, "").strip().lower() or _GITHUB_HOST
    if not _HOST.fullmatch(host):
        raise UsageError(
            f"{quoted(host, 60)} in {HOST_VARIABLE} is no host.", hint="For example github.example.com."
        )
    return host


def origin_of(user: str) -> str:
    """What a pin says of where its key came from: `github:acme`, `github:acme@github.example.com`."""
    host = github_host()
    return f"{GITHUB}{user}" if host == _GITHUB_HOST else f"{GITHUB}{user}@{host}"


def checked_user(user: str) -> str:
    """The name of a GitHub account.

    Raises:
        UsageError: it cannot be one.
    """
    if not _USER.fullmatch(user):
        raise UsageError(
            f"{quoted(user, 60)} is no GitHub account.",
            hint="Names have letters, digits and single hyphens, 39 characters at most: github:acme",
        )
    return user


def _addresses(host: str, user: str) -> tuple[str, str]:
    """Where the account's keys are listed: those to log in with, those to sign with."""
    hosted = host == _GITHUB_HOST or host.endswith(".ghe.com")
    api = f"https://api.{host}" if hosted else f"https://{host}/api/v3"
    return f"https://{host}/{user}.keys", f"{api}/users/{user}/ssh_signing_keys?per_page=100"


def _instead(host: str, user: str) -> str:
    return (
        f"Or get https://{host}/{user}.keys in another way, and give the file with --from FILE. "
        f"GitHub answers few questions an hour from one address."
    )


def _read(data: bytes, source: str) -> FoundKeys:
    """Read a list of keys, in either form.

    Raises:
        KeyFileError: it is neither, or its ML-DSA-44 key is broken.
    """
    lines = _from_json(data, source) if data.lstrip()[:1] == b"[" else _from_text(data, source)
    if len(lines) > _MAX_KEYS:
        raise KeyFileError(f"{source} lists {len(lines):,} keys; {_MAX_KEYS:,} at most are read.")
    keys: dict[PublicKey, None] = {}
    seconds: dict[str, None] = {}
    skipped = []
    for line in lines:
        if line.startswith(POST_QUANTUM):
            # A broken one is no reason to do without it.
            seconds.setdefault(PostQuantumKey.parse(line).fingerprint)
            continue
        try:
            keys.setdefault(PublicKey.parse(line))
        except KeyFileError as error:
            skipped.append(error.message)
    if len(seconds) > 1:
        raise KeyFileError(f"{source} lists {len(seconds)} ML-DSA-44 keys; one at most is expected.")
    return FoundKeys(tuple(keys), tuple(skipped), post_quantum=next(iter(seconds), ""))


def _from_text(data: bytes, source: str) -> list[str]:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise KeyFileError(f"{source} is no list of public keys: it is not text.") from error
    lines = [line.strip() for line in text.split("\n")]
    lines = [line for line in lines if line and not line.startswith("#")]
    for line in lines:
        if not is_key_type(line.partition(" ")[0]) and not line.startswith(f"{POST_QUANTUM} "):
            raise KeyFileError(
                f"{source} is no list of public keys: {quoted(line, 60)} is no public key.",
                hint="A line looks like `ssh-ed25519 AAAA… comment`.",
            )
    return lines


def _from_json(data: bytes, source: str) -> list[str]:
    """The lines of the answer of `GET /users/USER/ssh_signing_keys`: `[{"key": "ssh-ed25519 AAAA…", …}]`."""
    try:
        value = strict_json.loads(data, limit=_MAX_LIST, what="list of keys")
    except ManifestError as error:
        raise KeyFileError(f"{source} is no list of public keys. {error.message}") from error
    lines = []
    for item in value if isinstance(value, list) else []:
        line = item.get("key") if isinstance(item, dict) else None
        if not isinstance(line, str):
            raise KeyFileError(f"{source} is no list of public keys: an entry lacks the text `key`.")
        lines.append(line)
    return lines


def _some(found: FoundKeys, source: str) -> FoundKeys:
    """What was found, which must be something.

    Raises:
        KeyFileError: nothing of it serves.
    """
    if found.keys:
        return found
    reasons = "".join(f"\n{text}" for text in found.skipped[:10])
    raise KeyFileError(
        f"{escape(source)} has no Ed25519 key that could be pinned.{reasons}",
        hint="Ask the publisher for an Ed25519 key: ssh-keygen -t ed25519 makes one.",
        skipped=list(found.skipped),
    )
