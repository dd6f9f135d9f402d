"""`trust team`: root files that maintainers pass around, and a team as a known publisher.

A root file is called `NAME.VERSION.root.json`. Those of one team lie side by side, so that the newest can be proven
from the first; a team that is known already is proven from what is known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from weightshare.api.documents import write_document
from weightshare.api.earlier import payload_of
from weightshare.api.key_sources import keys_in_file
from weightshare.api.signers import open_signer
from weightshare.api.team_files import (
    TeamFile,
    complete_team,
    described,
    previous_of,
    root_in,
    siblings,
    write_draft,
)
from weightshare.api.trusting import team_pin
from weightshare.content.home import Home
from weightshare.errors import KeyFileError, PinError, UsageError
from weightshare.trust import publishers, roots
from weightshare.trust.key_types import is_key_type
from weightshare.trust.keys import PublicKey, parse_fingerprint
from weightshare.trust.pins import Pin
from weightshare.trust.publishers import KnownPublishers


def new_team(
    name: str,
    keys: Sequence[str],
    threshold: int,
    *,
    keep: Sequence[str | Path] = (),
    out: Path | None = None,
    home: Home | None = None,
) -> TeamFile:
    """Write the first root of a team, for its members to sign.

    Args:
        name: the team's name, the `ORG` of its models.
        keys: a public key file or line for each member.
        threshold: how many of them must sign a release, and the next root.
        keep: manifests of earlier releases that stay good.
        out: folder for the root file; None takes the current one.
        home: where the known publishers are.

    Raises:
        KeyFileError: a key that cannot serve.
        FileInTheWayError: the root file is there already.
    """
    members = tuple(map(public_key, keys))
    _check_threshold(threshold, members)
    made = roots.draft(name, members, threshold, keep=[payload_of(path) for path in keep])
    return write_draft(made, None, out, home or Home.default())


def change_team(
    what: str,
    *,
    add: Sequence[str] = (),
    remove: Sequence[str] = (),
    threshold: int | None = None,
    keep: Sequence[str | Path] = (),
    out: Path | None = None,
    home: Home | None = None,
) -> TeamFile:
    """Write the next root of a team, for its members to sign.

    Args:
        what: the newest root file, or the name of a team that is known.
        add: public keys to add.
        remove: fingerprints or public keys to take away.
        threshold: how many must sign from now on; None leaves it.
        keep: manifests that stay good although a key that signed them goes.
        out: folder for the root file; None puts it beside the one that was named.
        home: where the known publishers are.

    Raises:
        KeyFileError: a key that cannot serve, or is none of the team's.
        TeamRootError: the root does not hold.
        UsageError: there is no such root or team.
        FileInTheWayError: the next root is there already.
    """
    home = home or Home.default()
    team, path = complete_team(what, home)
    keys = list(team.current.roots.keys)
    for text in remove:
        gone = _fingerprint(text)
        if gone not in [key.fingerprint for key in keys]:
            raise KeyFileError(
                f"{gone} is none of the team's keys.", hint="weightshare trust team show lists them."
            )
        keys = [key for key in keys if key.fingerprint != gone]
    for text in add:
        key = public_key(text)
        if key in keys:
            raise KeyFileError(f"{key.fingerprint} is one of the team's keys already.")
        keys.append(key)
    threshold = threshold or team.current.releases.threshold
    _check_threshold(threshold, keys)
    made = roots.draft(
        team.name,
        keys,
        threshold,
        previous=team.current,
        keep=[payload_of(entry) for entry in keep],
    )
    return write_draft(made, team.current, out or (path.parent if path else None), home)


def sign_root(
    path: str | Path,
    *,
    key: str | Path | None = None,
    passphrase: Callable[[], str] | None = None,
    waiting: Callable[[str], None] | None = None,
    home: Home | None = None,
) -> TeamFile:
    """Add a signature to a root file, in place.

    Args:
        path: the root file.
        key: an Ed25519 key of this root or of the one before; for a first root also the key that the publisher
            had so far. None takes the only one in `home`.
        passphrase: asked when the key wants one.
        waiting: told what is waited for when an ssh-agent takes its time.
        home: where keys and the known publishers are.

    Raises:
        KeyFileError: no usable key, or one whose signature would say nothing.
        TeamRootError: the root, or the one before, does not hold.
        UsageError: there is no such file.
        DiskError: it cannot be written.
    """
    home = home or Home.default()
    path = Path(path)
    root = root_in(path)
    previous = previous_of(root, path, home)
    signer = open_signer(key, home, passphrase, waiting)
    members = {*root.roots.keys, *(previous.roots.keys if previous else ())}
    known = KnownPublishers.load(home.known_publishers)
    founder = root.version == 1 and any(
        pin.fingerprint == signer.public_key.fingerprint for pin in known.named(root.name)
    )
    if signer.public_key not in members and not founder:
        raise KeyFileError(
            f"{signer.public_key.fingerprint} is no key of root {root.version} of {root.name}, "
            "nor of the one before.",
            hint="weightshare trust team show lists the keys. Sign with one of them: --key NAME|FILE.",
        )
    signed = roots.sign(root, signer)
    write_document(path, signed.raw)
    return described(signed, previous, path, home)


def show_team(what: str, *, home: Home | None = None) -> TeamFile:
    """What a root file says, or the newest root of a team that is known.

    Raises:
        TeamRootError: the root does not hold.
        UsageError: there is no such root or team.
    """
    home = home or Home.default()
    path = Path(what).expanduser()
    if path.is_file():
        root = root_in(path)
        return described(root, previous_of(root, path, home), path, home)
    team, _ = complete_team(what, home)
    previous = team.chain[-2] if len(team.chain) > 1 else None
    return described(team.current, previous, None, home)


def trust_team(
    name: str,
    path: Path,
    *,
    models: tuple[str, ...] = ("*",),
    replace: bool = False,
    home: Home | None = None,
) -> Pin:
    """Pin a team by its newest root file, or bring a team that is known up to date.

    Raises:
        TeamRootError: the root is not signed by enough keys, or does not follow from what is known.
        PinError: the name is pinned with another key, which did not sign the team's first root.
    """
    home = home or Home.default()
    newest = root_in(path)
    raw = newest.raw

    def change(known: KnownPublishers) -> KnownPublishers:
        pinned = next((pin for pin in known.named(name) if not pin.revoked), None)
        files = [*siblings(path, newest), raw]
        if pinned is not None and pinned.team is not None and not replace:
            if newest.version <= pinned.team.version and all(r.raw != raw for r in pinned.team.chain):
                raise PinError(
                    f"{name} is known by root {pinned.team.version}; {path} is another root "
                    f"{newest.version}.",
                    hint="If they told you of a new team by a way you trust, add --replace.",
                )
            return known.with_team(pinned.fingerprint, roots.follow(pinned.team, files))
        team = roots.start(files)
        founded = pinned is not None and pinned.key is not None and not pinned.post_quantum
        if founded and pinned is not None and pinned.key and roots.signed_by(team.chain[0].raw, pinned.key):
            return known.with_team(pinned.fingerprint, team)
        return known.add(team_pin(name, team, str(path), models=models), replace=replace)

    known = publishers.update(home.known_publishers, change)
    return next(pin for pin in known.named(name) if pin.team is not None)


def public_key(text: str) -> PublicKey:
    """A public key by file or as a line.

    Raises:
        KeyFileError: it is none, one that cannot serve, or a file with several.
    """
    path = Path(text).expanduser()
    if path.is_file():
        keys = keys_in_file(path).keys
        if len(keys) > 1:
            raise KeyFileError(f"{path} holds {len(keys)} keys; a member has one.")
        return keys[0]
    if is_key_type(text.partition(" ")[0]):
        return PublicKey.parse(text)
    raise KeyFileError(f"There is no public key file {text!r}.", hint="Give a .pub file for each member.")


def _check_threshold(threshold: int, keys: Sequence[PublicKey]) -> None:
    if threshold > len(keys):
        raise UsageError(
            f"{threshold} signatures are demanded of {len(keys)} in all.",
            hint="Name more keys, or a lower --threshold.",
        )


def _fingerprint(text: str) -> str:
    return parse_fingerprint(text) if text.startswith("SHA256:") else public_key(text).fingerprint
