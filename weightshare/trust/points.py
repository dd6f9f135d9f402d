"""Which 32 bytes may be an Ed25519 public key.

A point of small order verifies signatures that nobody made: with the identity as the key, any message passes.
The library does not refuse such points, nor bytes that are no point at all; this does, when a key is read.
Source: RFC 8032, section 5.1.3 (decoding); the eight points whose order divides the cofactor 8.
"""

from __future__ import annotations

_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P
# The y coordinates of the eight points of small order: 1 (identity), -1 (order 2), 0 (order 4), and for order
# 8 the two roots of d*y^4 + 2*y^2 - 1 = 0 that belong to a point.
_Y8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
_SMALL = frozenset({1, _P - 1, 0, _Y8, _P - _Y8})


def problem_with(raw: bytes) -> str | None:
    """Why these 32 bytes cannot serve as a public key, or None."""
    encoded = int.from_bytes(raw, "little")
    y, sign = encoded & (2**255 - 1), encoded >> 255
    if y >= _P:
        return "its encoding is not canonical"
    if y in _SMALL:
        return "it is a point of small order, for which signatures can be forged"
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    if pow(square, (_P - 1) // 2, _P) != 1 and (square or sign):
        return "it is no point of the curve"
    return None
