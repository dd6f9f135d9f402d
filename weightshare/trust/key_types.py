"""The names of SSH's key types, and why all but one of them are refused."""

from __future__ import annotations

from weightshare.manifest.text import quoted

KEY_TYPE = "ssh-ed25519"


def is_key_type(word: str) -> bool:
    """Whether a word is the name of an SSH key type, of whatever kind."""
    return word.startswith(("ssh-", "sk-", "ecdsa-", "rsa-")) and word.isascii() and word.isprintable()


def describe_type(kind: str) -> str:
    """What a key type that is not `ssh-ed25519` is, and why it does not serve: `an RSA key ('ssh-rsa'); …`."""
    name = quoted(kind, 60)
    if "-cert-v" in kind:
        return f"a certificate ({name}); the plain key is expected"
    if kind.startswith("sk-"):
        return f"a key on a security device ({name}), whose signatures cover more than what is signed here"
    for start, what in (("ssh-rsa", "an RSA"), ("ecdsa-", "an ECDSA"), ("ssh-dss", "a DSA")):
        if kind.startswith(start):
            return f"{what} key ({name}); only Ed25519 keys sign releases"
    return f"a key of another type ({name}); {KEY_TYPE} is expected"
