"""`trust export`: the known publishers for programs that are not ours."""

from __future__ import annotations

from pathlib import Path

from weightshare.content.home import Home
from weightshare.errors import StoreError
from weightshare.files import write_atomically
from weightshare.trust import allowed_signers
from weightshare.trust.allowed_signers import AllowedSigners
from weightshare.trust.publishers import KnownPublishers


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
