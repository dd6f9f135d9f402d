"""The known publishers as OpenSSH's `allowed_signers`, so that `ssh-keygen -Y verify` knows whom to believe.

    acme namespaces="weightshare" ssh-ed25519 AAAA…

OpenSSH keeps what is revoked in a file of its own (`-r`): public keys, one a line. Source: ssh-keygen(1),
ALLOWED SIGNERS and KEY REVOCATION LISTS.
"""

from __future__ import annotations

from dataclasses import dataclass

from weightshare.trust.keys import PublicKey
from weightshare.trust.pins import NAMESPACE, Pin
from weightshare.trust.publishers import KnownPublishers


@dataclass(frozen=True, slots=True)
class AllowedSigners:
    """What OpenSSH can be told.

    Attributes:
        exported: the pins that went out.
        revoked: the keys that must not be believed, as far as they are known.
        left_out: the pins that could not be said, each with the reason.
        notes: what OpenSSH will not check although weightshare does.
    """

    exported: tuple[Pin, ...]
    revoked: tuple[PublicKey, ...]
    left_out: tuple[tuple[Pin, str], ...]
    notes: tuple[str, ...]

    def render(self) -> str:
        """The `allowed_signers` file."""
        return "".join(
            f'{pin.name} namespaces="{NAMESPACE}" {PublicKey(pin.key.raw).openssh}\n'
            for pin in self.exported
            if pin.key is not None
        )

    def render_revoked(self) -> str:
        """The revocation file for `-r`."""
        return "".join(f"{PublicKey(key.raw).openssh}\n" for key in self.revoked)


def export(known: KnownPublishers) -> AllowedSigners:
    """Sort the pins by what OpenSSH can be told of them. A key that is revoked in one line is in all."""
    gone = {pin.fingerprint for pin in known.pins if pin.revoked}
    exported, left_out, notes = [], [], []
    revoked: dict[PublicKey, None] = {}
    for pin in known.pins:
        if pin.fingerprint in gone:
            left_out.append((pin, "revoked"))
            if pin.key is not None:
                revoked.setdefault(pin.key)
        elif not pin.publishes:
            left_out.append((pin, "a mirror, whose countersignatures are no SSH signatures"))
        elif pin.key is None:
            left_out.append((pin, _no_key(pin)))
        else:
            exported.append(pin)
            if pin.models != ("*",):
                notes.append(
                    f"{pin.name} is trusted for {', '.join(pin.models)} only; ssh-keygen cannot check that."
                )
            if pin.post_quantum:
                notes.append(f"{pin.name} signs with an ML-DSA-44 key as well; ssh-keygen cannot check that.")
    listed = {key.fingerprint for key in revoked}
    for fingerprint in sorted(gone - listed):
        notes.append(
            f"{fingerprint} is revoked, but its key is not known, so no revocation file can hold it."
        )
    return AllowedSigners(tuple(exported), tuple(revoked), tuple(left_out), tuple(notes))


def _no_key(pin: Pin) -> str:
    if pin.root:
        return "a team, whose keys its root names and whose threshold ssh-keygen cannot count"
    return "pinned by its fingerprint alone; ssh-keygen needs the key (weightshare trust add NAME KEY.pub)"
