"""The licence that a model card names: the Hub's own short names, turned into SPDX expressions.

The names are those of the Hub's documentation, "Licenses". A family name such as `cc` or `gpl` names no licence that
SPDX knows, and neither do models' own ones; they become `LicenseRef-…`. The GNU names say no "or later", so they
become `…-only`, which grants no more than is known.
"""

from __future__ import annotations

import re
from pathlib import Path

_MAX_CARD = 16 * 1024 * 1024
_KNOWN = """
AFL-3.0 Apache-2.0 Artistic-2.0 BSD-2-Clause BSD-3-Clause BSD-3-Clause-Clear BSL-1.0 CC0-1.0 CC-BY-2.0 CC-BY-2.5
CC-BY-3.0 CC-BY-4.0 CC-BY-SA-3.0 CC-BY-SA-4.0 CC-BY-NC-2.0 CC-BY-NC-3.0 CC-BY-NC-4.0 CC-BY-ND-4.0 CC-BY-NC-ND-3.0
CC-BY-NC-ND-4.0 CC-BY-NC-SA-2.0 CC-BY-NC-SA-3.0 CC-BY-NC-SA-4.0 CDLA-Permissive-1.0 CDLA-Permissive-2.0
CDLA-Sharing-1.0 ECL-2.0 EPL-1.0 EPL-2.0 etalab-2.0 EUPL-1.1 EUPL-1.2 ISC LPPL-1.3c MIT MPL-2.0 MS-PL NCSA OFL-1.1
OSL-3.0 PostgreSQL Unlicense WTFPL Zlib
"""
_SPDX = {name.lower(): name for name in _KNOWN.split()} | {
    "agpl-3.0": "AGPL-3.0-only",
    "c-uda": "C-UDA-1.0",
    "gpl-2.0": "GPL-2.0-only",
    "gpl-3.0": "GPL-3.0-only",
    "lgpl-2.1": "LGPL-2.1-only",
    "lgpl-3.0": "LGPL-3.0-only",
    "lgpl-lr": "LGPLLR",
    "odbl": "ODbL-1.0",
    "odc-by": "ODC-By-1.0",
    "pddl": "PDDL-1.0",
}
_NONE = frozenset({"", "unknown", "none"})


def licence_of(card: Path) -> str | None:
    """The SPDX expression of the licence in a model card's metadata; None if it names none, or cannot be read.

    Args:
        card: the repository's `README.md`; need not exist.
    """
    try:
        with card.open("rb") as file:
            text = file.read(_MAX_CARD).decode("utf-8", "replace")
    except OSError:
        return None
    return licence_in(text)


def licence_in(text: str) -> str | None:
    """The same, of the card's text."""
    data = _metadata(text)
    found = data.get("license")
    if isinstance(found, list):  # some cards write a list of one
        found = found[0] if len(found) == 1 else None
    if not isinstance(found, str):
        return None
    if found.strip().lower() == "other":
        named = data.get("license_name")
        return _own(named if isinstance(named, str) and named.strip() else "other")
    return spdx_of(found)


def spdx_of(name: str) -> str | None:
    """The SPDX expression for one of the Hub's names of licences; None if it stands for none."""
    name = name.strip().lower()
    if name in _NONE:
        return None
    return _SPDX.get(name) or _own(name)


def _own(name: str) -> str:
    """A reference to a licence that SPDX does not list (SPDX 2.3, 10.1: letters, digits, `.` and `-`)."""
    return "LicenseRef-" + (re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-.")[:80] or "other")


def _metadata(text: str) -> dict[object, object]:
    """The YAML between the two lines of dashes at the card's top; nothing if it is not a table."""
    import yaml  # huggingface_hub needs it, so it is there

    block = re.match(r"\ufeff?\s*---[ \t]*\r?\n(.*?)^---[ \t]*\r?$", text, re.DOTALL | re.MULTILINE)
    if block is None:
        return {}
    try:
        found = yaml.safe_load(block[1])
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
