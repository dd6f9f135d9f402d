"""Which key `--key` means, and who signs with it: a private key file, or the ssh-agent.

The conventions are those of git and `ssh-keygen -Y sign`: a public key file names a key that the agent holds, or
else the private file beside it; a private file signs by itself. If that one is encrypted and the agent holds the
key already, the agent signs, and nobody is asked for the passphrase again.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from weightshare.api.identity import AGENT, find_key, second_signer
from weightshare.content.home import Home
from weightshare.errors import AgentError
from weightshare.trust.agent import AgentSigner, Waiting, agent_keys, only_signer, signer_for
from weightshare.trust.key_files import KeyFile, look, private_beside
from weightshare.trust.key_types import is_key_type
from weightshare.trust.keys import FileSigner, PublicKey, Signer, list_keys, parse_fingerprint
from weightshare.trust.post_quantum import PostQuantumSigner

_LITERAL = "key::"  # git's mark for a public key that is written out (gpg.ssh, user.signingKey)


def open_signer(
    key: str | Path | None,
    home: Home,
    passphrase: Callable[[], str] | None = None,
    waiting: Waiting | None = None,
) -> Signer:
    """The signer that `--key` means.

    Args:
        key: a private or public key file, the name of one of `home`'s keys, `SHA256:…`, a public key written out,
            or `agent`; None for the only key in `home`.
        home: where named keys are.
        passphrase: asked when a private key file wants one.
        waiting: told what is waited for when the agent takes its time.

    Raises:
        UsageError: it begins as a fingerprint and is none.
        KeyFileError: there is no such key, it is of a type that does not serve, or its passphrase is wrong.
        AgentError: the agent is needed and not there, or does not hold the key.
    """
    return _open(key, home, passphrase, waiting)[0]


def open_both(
    key: str | Path | None,
    home: Home,
    passphrase: Callable[[], str] | None = None,
    waiting: Waiting | None = None,
) -> tuple[Signer, PostQuantumSigner | None]:
    """The signer that `--key` means, and its ML-DSA-44 half if one lies beside the key's file.

    Raises:
        UsageError, KeyFileError, AgentError: as for `open_signer`, for either half.
    """
    signer, path = _open(key, home, passphrase, waiting)
    return signer, second_signer(path, passphrase) if path is not None else None


_Opened = tuple[Signer, Path | None]
"""A signer, and where its private key file is or would be; None for a key that was named without a file."""


def _open(
    key: str | Path | None, home: Home, passphrase: Callable[[], str] | None, waiting: Waiting | None
) -> _Opened:
    if isinstance(key, str):
        word = key.strip()
        if word == AGENT:
            return only_signer(waiting), None
        if word[:7].upper() == "SHA256:":
            return _by_fingerprint(parse_fingerprint(word), home, passphrase, waiting)
        line = word.removeprefix(_LITERAL)
        if line != word or (" " in line and is_key_type(line.partition(" ")[0])):
            return signer_for(PublicKey.parse(line).fingerprint, waiting), None
    return _of_file(find_key(key, home), passphrase, waiting)


def _by_fingerprint(
    fingerprint: str, home: Home, passphrase: Callable[[], str] | None, waiting: Waiting | None
) -> _Opened:
    for name, key in list_keys(home.keys):
        if key.fingerprint == fingerprint:
            return _of_file(home.keys / name, passphrase, waiting)
    return signer_for(fingerprint, waiting), None


def _of_file(path: Path, passphrase: Callable[[], str] | None, waiting: Waiting | None) -> _Opened:
    found = look(path)
    if not found.private:
        private = path.with_suffix("") if path.suffix == ".pub" else None
        return _of_public(found, passphrase, waiting), private
    if found.encrypted and _agent_holds(found.public_key):
        return AgentSigner(found.public_key, waiting), path
    return FileSigner.load(path, passphrase), path


def _of_public(found: KeyFile, passphrase: Callable[[], str] | None, waiting: Waiting | None) -> Signer:
    try:
        return signer_for(found.public_key.fingerprint, waiting)
    except AgentError as error:
        beside = private_beside(found.path)
        if beside is not None and look(beside).public_key == found.public_key:
            return FileSigner.load(beside, passphrase)
        raise AgentError(
            f"{found.path} is a public key, whose private half only an agent can have. {error.message}",
            hint=error.hint,
            **error.facts,
        ) from error


def _agent_holds(key: PublicKey) -> bool:
    try:
        return key in agent_keys()
    except AgentError:
        return False
