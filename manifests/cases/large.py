"""Documents too large to be kept: `generate.py --large FOLDER` writes them."""

from __future__ import annotations

from collections.abc import Iterator

from cases.builders import (
    Json,
    b64,
    compact,
    seal,
    statement,
    subject_of,
    to_bytes,
)
from cases.case import ALICE, Case, signed, sound

MAX_DOCUMENT = 16 * 1024 * 1024


def large_cases() -> Iterator[Case]:
    """Documents too large to be kept: `generate.py --large FOLDER` writes them."""
    plain, payload = signed(sound()), compact(sound())
    padding = b" " * (MAX_DOCUMENT - len(plain))
    yield Case("large-exact", "An envelope of just 16 MiB.", plain + padding, ("J1",))
    yield Case(
        "J1-envelope-too-large",
        "16 MiB and a byte.",
        plain + padding + b" ",
        ("J1",),
        error="manifest",
        field="",
    )
    marks = b'{"x":[' + b",".join([b'""'] * 500_000) + b"],"
    yield Case(
        "J5-envelope-marks",
        "A million strings and commas in a field that is ignored.",
        marks + plain[1:],
        ("J5",),
        error="manifest",
        field="",
    )
    yield Case(
        "J5-payload-marks",
        "The same in the payload.",
        to_bytes(seal(marks + payload[1:], ALICE)),
        ("J5",),
        error="manifest",
        field="",
    )
    yield Case("large-10000-files", "As many files as there may be.", signed(_many(10_000)), ("M10",))
    yield Case(
        "M10-10001-files",
        "One file too many.",
        signed(_many(10_001)),
        ("M10",),
        error="manifest",
        field="predicate.files",
        schema=True,
    )
    envelope = seal(payload, ALICE)
    big = b64(bytes(512_001))
    yield Case(
        "E7-root-too-large",
        "A root of more than 512,000 bytes.",
        to_bytes(envelope | {"roots": [big]}),
        ("E7",),
        error="manifest",
        field="roots[0]",
        schema=True,
    )


def _many(count: int) -> Json:
    document = statement([ALICE.fingerprint], {"empty": b""})
    entry = document["predicate"]["files"][0]
    files = [entry | {"path": f"part-{number:05}"} for number in range(count)]
    document["predicate"]["files"] = files
    document["subject"] = subject_of(files)
    return document
