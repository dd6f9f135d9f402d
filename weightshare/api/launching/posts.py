"""The texts that announce a release: a post of 280 characters, and a block for a README. Pure.

On X every URL counts 23 characters and is replaced by a short link, `udp://` and `https://` inside a magnet link too,
so that its trackers are lost, while `magnet:` itself becomes no link. So the post holds no magnet: what cannot be
mangled is an info-hash on its own, in hex, and that is enough for the DHT, for web seeds by the `.torrent`, and for
clients of v1 by the second hash.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from weightshare.units import format_size

LIMIT = 280
URL_LENGTH = 23

# X counts these ranges once and everything else twice (twitter-text 3, `ranges` with weight 100).
_SINGLE = ((0, 0x10FF), (0x2000, 0x200D), (0x2010, 0x201F), (0x2032, 0x2037))
_URL = re.compile(r"https?://[^\s]+")
_DOMAIN = re.compile(r"(?<![\w@./-])(?:[\w-]+\.)+[A-Za-z]{2,}(?:/[^\s]*)?")
_SHORT = 16


@dataclass(frozen=True, slots=True)
class Facts:
    """What the texts say of a release.

    Attributes:
        release: `ORG/MODEL@VERSION`.
        size: bytes.
        files: how many.
        publisher: fingerprint of the signer (`SHA256:…`).
        v2: info-hash in hex.
        v1: likewise; empty where there is none.
        magnet: the whole link.
        page: an https URL to post: of the `.torrent`, if there is one.
        license: SPDX, empty if none was said.
        summary: one line about it.
    """

    release: str
    size: int
    files: int
    publisher: str
    v2: str
    v1: str
    magnet: str
    page: str = ""
    license: str = ""
    summary: str = ""


def length_of(text: str) -> int:
    """Characters of a post as X counts them: 23 for what it takes for a URL, 2 for wide scripts and emoji."""
    spans: list[tuple[int, int]] = []
    for pattern in (_URL, _DOMAIN):
        for match in pattern.finditer(text):
            if not any(begin < match.end() and match.start() < end for begin, end in spans):
                spans.append(match.span())
    total = 0
    place = 0
    for begin, end in sorted(spans):
        is_url = text.startswith(("http://", "https://"), begin)
        total += _weight(text[place:begin])
        # Whether a name with a dot is taken for a link depends on a list of top-level domains: the dearer of both.
        total += URL_LENGTH if is_url else max(URL_LENGTH, _weight(text[begin:end]))
        place = end
    return total + _weight(text[place:])


def post(facts: Facts) -> str:
    """A post that X takes and does not spoil, with all that fits.

    What does not fit is left out in this order: the size, the fingerprint down to its first characters, the v1 hash,
    the model's organisation and the end of its name. The v2 info-hash is always there, whole.
    """
    name, _, version = facts.release.partition("@")
    size = f" ({format_size(facts.size)})"
    short = facts.publisher[: len("SHA256:") + _SHORT] + "…"
    model = name.rpartition("/")[2]
    room = LIMIT - 140
    drafts = (
        _draft(facts, facts.release + size, facts.publisher, facts.v1),
        _draft(facts, facts.release, facts.publisher, facts.v1),
        _draft(facts, facts.release, short, facts.v1),
        _draft(facts, facts.release, short, ""),
        _draft(facts, f"{model}@{version}", short, ""),
        _draft(facts, f"{model[: room - 40]}…", short, ""),
    )
    return next((draft for draft in drafts if length_of(draft) <= LIMIT), drafts[-1])


def markdown(facts: Facts) -> str:
    """A block for a README: how to fetch and verify it, with the link where nothing rewrites it: in a code block."""
    name = facts.release.partition("@")[0]
    lines = [
        "## Download by BitTorrent, with proof",
        "",
        f"`{facts.release}`: {facts.files} files, {format_size(facts.size)}"
        + (f", {facts.license}" if facts.license else "")
        + f". Signed by `{facts.publisher}`.",
        "",
        "```sh",
        "pip install weightshare",
        f"weightshare fetch {shlex.quote(facts.magnet)} \\",
        f"  --trust {facts.publisher}",
        f"weightshare verify {shlex.quote(name)}",
        "```",
        "",
        "Nothing gets its final name before its bytes are proven against the signature. The fingerprint above is",
        "what to compare with another place where we publish it. Any other BitTorrent client can fetch the same",
        "files" + (f", by [the .torrent]({facts.page})" if facts.page else "") + ":",
        "",
        "| | |",
        "|---|---|",
        f"| info-hash v2 | `{facts.v2}` |",
    ]
    if facts.v1:
        lines.append(f"| info-hash v1 | `{facts.v1}` |")
    return "\n".join(lines).rstrip() + "\n"


def _draft(facts: Facts, title: str, signer: str, v1: str) -> str:
    lines = [title, f"signed {signer}", "", f"weightshare fetch {facts.v2}"]
    if v1:
        lines += ["other clients, by info-hash:", v1]
    if facts.page:
        lines.append(facts.page)
    return "\n".join(lines)


def _weight(text: str) -> int:
    return sum(1 if any(low <= ord(char) <= high for low, high in _SINGLE) else 2 for char in text)
