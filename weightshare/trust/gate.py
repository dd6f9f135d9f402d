"""The gate: what a release must show before a weight byte is fetched, written or loaded.

Bytes in, verdict out, in this order. `check_info`: the info dictionary is the one the magnet names, and safe.
`verify`: the manifest is signed by a publisher the user knows. `match`: the torrent holds exactly the files that
were signed. `judge`: nothing in it is refused by policy. Each step raises; none turns into a warning what has to
be proven.
"""

from __future__ import annotations

from weightshare.manifest.kinds import PICKLE_SUFFIXES, is_code, is_pickle
from weightshare.trust.admission import Policy, check_info, check_revoked, judge, match
from weightshare.trust.verification import Examined, VerifiedManifest, examine, verify

__all__ = [
    "PICKLE_SUFFIXES",
    "Examined",
    "Policy",
    "VerifiedManifest",
    "check_info",
    "check_revoked",
    "examine",
    "is_code",
    "is_pickle",
    "judge",
    "match",
    "verify",
]
