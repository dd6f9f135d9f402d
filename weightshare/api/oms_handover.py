"""Has model_signing check what is not checked here: signatures by a certificate, and through Sigstore.

It runs as a program of its own. Its word counts only if it says plainly that the signature holds; whatever else
happens (not installed, does not start, says nothing) means that nothing was checked.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from weightshare.errors import BadSignatureError, CorruptError, NotCheckedError
from weightshare.manifest.text import escape
from weightshare.trust.oms import Method
from weightshare.trust.oms_statement import Serialization

_GOOD = "Verification succeeded"
_BAD = "Verification failed with error: "
_BAD_BYTES = "Signature mismatch"
_NO_NETWORK = "Failed to refresh TUF metadata"
_INSTALL = "Install it beside weightshare: pip install model-signing pyOpenSSL"


@dataclass(frozen=True, slots=True)
class Trusted:
    """Whom the user trusts, for signatures that are not by a key.

    Attributes:
        certificate_chain: PEM files of authorities.
        identity: who must have signed.
        identity_provider: who must have vouched for them.
    """

    certificate_chain: tuple[Path, ...] = ()
    identity: str | None = None
    identity_provider: str | None = None


def hand_over(
    folder: Path,
    signature: bytes,
    method: Method,
    serialization: Serialization,
    trusted: Trusted,
    ignored: Sequence[Path] = (),
) -> None:
    """Have model_signing verify a folder; returns if everything holds.

    Args:
        folder: the model.
        signature: the bundle's bytes; handed over as a copy, so that nobody exchanges them meanwhile.
        method: `certificate` or `sigstore`.
        serialization: as the signature has it.
        trusted: whom to believe.
        ignored: what may lie in the folder unsigned.

    Raises:
        NotCheckedError: model_signing is not there, does not run, or cannot check such a signature.
        BadSignatureError: it refuses the signature.
        CorruptError: it finds other files or bytes than were signed.
    """
    if (serialization.method, serialization.hash_type) != ("files", "sha256"):
        raise NotCheckedError(
            f"Not checked: the OMS signature is by {method} over {serialization.method} with "
            f"{serialization.hash_type}; model_signing's command checks whole files with sha256 only."
        )
    with tempfile.TemporaryDirectory(prefix="weightshare-") as place:
        copy = Path(place) / "signature"
        copy.write_bytes(signature)
        words = [f"--signature={copy}", *(f"--ignore-paths={path}" for path in ignored)]
        if serialization.allow_symlinks:
            words.append("--allow_symlinks")
        if method is Method.CERTIFICATE:
            words += [f"--certificate_chain={path}" for path in trusted.certificate_chain]
        else:
            words += [f"--identity={trusted.identity}", f"--identity_provider={trusted.identity_provider}"]
        # -P: a folder that a stranger filled may be the current one, and must not offer a module of that name.
        done = subprocess.run(  # noqa: S603  our own interpreter
            [sys.executable, "-P", "-m", "model_signing", "verify", str(method), *words, str(folder)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    if done.returncode == 0 and _GOOD in done.stdout:
        return
    raise _refusal(done.stderr, method)


def _refusal(said: str, method: Method) -> NotCheckedError | BadSignatureError | CorruptError:
    _, refused, reason = said.partition(_BAD)
    if refused and _NO_NETWORK in reason:
        return NotCheckedError(
            f"Not checked: model_signing could not ask Sigstore for its keys: {escape(reason.strip())[:500]}",
            hint="Try again with a network.",
        )
    if refused:
        message = f"model_signing refuses it: {escape(reason.strip())[:2000]}"
        if reason.startswith(_BAD_BYTES):
            return CorruptError(message, hint="The files are not those that were signed.")
        return BadSignatureError(message, hint="Ask whoever signed the model which authorities to trust.")
    lines = said.strip().splitlines() or ["it said nothing"]
    if "No module named" in lines[-1]:
        return NotCheckedError(
            f"Not checked: the OMS signature is by {method}, which takes the package model_signing.",
            hint=_INSTALL,
        )
    return NotCheckedError(
        f"Not checked: model_signing did not run: {escape(lines[-1])[:500]}",
        hint="`python -m model_signing --help` must work; version 1.1.1 needs pyOpenSSL too.",
    )
