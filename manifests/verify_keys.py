"""Keys and signatures for `verify.py` and `verify_team.py` (section S of SPEC.md)."""

import base64
import hashlib
import re

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey
from verify_json import SCHEMAS

MISLEADING = SCHEMAS["statement"]["$defs"]["safe"]["not"]["pattern"]
P, Y8 = 2**255 - 19, 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
SMALL_ORDER = {0, 1, P - 1, Y8, P - Y8}  # a key with one of these y: anybody can sign for it


def fingerprint(data):
    return "SHA256:" + base64.b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")


def wire(raw, kind="ssh-ed25519"):
    """A key as SSH writes it: its type and its bytes, each behind its length."""
    return b"".join(len(part).to_bytes(4, "big") + part for part in (kind.encode(), raw))


def read_key(line, kind="ssh-ed25519"):
    """The bytes of the key in a line; none if it is no key of this kind."""
    named, _, rest = line.strip().partition(" ")
    encoded, _, comment = rest.strip().partition(" ")
    try:
        raw = base64.b64decode(encoded, validate=True)[8 + len(kind) :]
    except ValueError:
        return b""
    if kind == "ssh-ed25519":
        allowed = is_sound(raw) and not re.search(MISLEADING, comment.strip())
    else:
        allowed = len(raw) == 1312 and len(line) <= 4096 and line.startswith(kind)
    canonical = base64.b64encode(wire(raw, kind)).decode()
    return raw if allowed and (named, encoded) == (kind, canonical) else b""


def is_sound(raw):
    """Whether these bytes may be an Ed25519 key (S5); whether they are on the curve, the library says."""
    y = int.from_bytes(raw, "little") % 2**255
    return len(raw) == 32 and y < P and y not in SMALL_ORDER


def holds(raw, signature, message, algorithm=Ed25519PublicKey):
    """Whether a signature over a message is by a key; none is by no key."""
    try:
        algorithm.from_public_bytes(raw).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def second_holds(raw, signature, message):
    """The same of ML-DSA-44, with an empty context."""
    return holds(raw, signature, message, MLDSA44PublicKey)
