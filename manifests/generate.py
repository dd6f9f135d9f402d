"""Writes the vectors and examples, byte for byte the same on every machine.

    python manifests/generate.py                  write what is missing or differs, remove what is no vector any more
    python manifests/generate.py --check          write nothing; exit 1 if anything differs
    python manifests/generate.py --large FOLDER   write the vectors that are too large to keep into a folder

Needs `cryptography` alone. The vectors depend on no part of weightshare: what they hold is put together by hand.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from cases.builders import compact, seal, to_bytes
from cases.case import ALICE, Case, sound
from cases.envelopes import envelope_cases, json_cases
from cases.hybrids import NOVA, SECOND, hybrid_cases, hybrid_example
from cases.large import large_cases
from cases.signatures import signature_cases
from cases.statements import path_cases, statement_cases
from cases.team_builders import ANN, BEN, CLEO, DAN
from cases.teams import team_cases, team_example, team_identity
from cases.valid import valid_cases

HERE = Path(__file__).resolve().parent
KEYS = {"alice": ALICE, "ann": ANN, "ben": BEN, "cleo": CLEO, "dan": DAN, "nova": NOVA}
COMMENT = "TEST KEY, worthless: its private half is published"


def main() -> int:
    """Do what the arguments say; the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if anything differs")
    parser.add_argument("--large", type=Path, metavar="FOLDER", help="write the large vectors there")
    asked = parser.parse_args()
    if asked.large is not None:
        _write(asked.large, dict(_vectors(large_cases())))
        return 0
    wanted = dict(_artefacts())
    stale = sorted(_present() - wanted.keys())
    differing = sorted(name for name, data in wanted.items() if not _holds(HERE / name, data))
    for name in (*differing, *stale)[:20]:
        print(f"{'differs' if name in wanted else 'is no vector'}: manifests/{name}", file=sys.stderr)
    if asked.check:
        print(f"{len(differing)} of {len(wanted)} files differ, {len(stale)} are no vectors", file=sys.stderr)
        return 1 if differing or stale else 0
    _write(HERE, {name: wanted[name] for name in differing})
    for name in stale:
        (HERE / name).unlink()
    print(f"{len(wanted)} files, {len(differing)} written, {len(stale)} removed")
    return 0


def _artefacts() -> Iterator[tuple[str, bytes]]:
    groups = (
        valid_cases,
        json_cases,
        envelope_cases,
        signature_cases,
        hybrid_cases,
        team_cases,
        statement_cases,
        path_cases,
    )
    for name, data in _vectors([case for group in groups for case in group()]):
        yield f"vectors/{name}", data
    yield from _examples()


def _vectors(cases: Iterator[Case] | list[Case]) -> Iterator[tuple[str, bytes]]:
    seen: set[str] = set()
    for case in cases:
        if case.name.lower() in seen:
            raise ValueError(f"two vectors are named {case.name}")
        seen.add(case.name.lower())
        folder = "invalid" if case.error else "valid"
        yield f"{folder}/{case.name}.weightshare.json", case.data
        yield f"{folder}/{case.name}.expect.json", case.expectation()


def _examples() -> Iterator[tuple[str, bytes]]:
    yield "examples/solo.weightshare.json", to_bytes(seal(compact(sound()), ALICE))
    yield "examples/hybrid.weightshare.json", hybrid_example()
    yield "examples/team.weightshare.json", team_example()
    yield "examples/known_publishers", "".join(f"{line}\n" for line in _known()).encode()
    for name, key in KEYS.items():
        yield f"examples/keys/{name}", key.private_file(f"{name} ({COMMENT})")
        yield f"examples/keys/{name}.pub", f"{key.line} {name} ({COMMENT})\n".encode()
    yield "examples/keys/nova.mldsa44", SECOND.private_file()
    yield "examples/keys/nova.mldsa44.pub", f"{SECOND.line} nova ({COMMENT})\n".encode()


def _known() -> Iterator[str]:
    yield f"# Who made the examples. {COMMENT}: pin none of these."
    yield f'acme namespaces="weightshare" models="acme/*" {ALICE.line}'
    yield f'nova namespaces="weightshare" models="nova/*" post-quantum="{SECOND.fingerprint}" {NOVA.line}'
    yield f'guild namespaces="weightshare" models="guild/*" {team_identity()}'


def _present() -> set[str]:
    files = [*(HERE / "vectors").rglob("*"), *(HERE / "examples").rglob("*")]
    return {file.relative_to(HERE).as_posix() for file in files if file.is_file()}


def _holds(path: Path, data: bytes) -> bool:
    return path.is_file() and path.read_bytes() == data


def _write(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


if __name__ == "__main__":
    sys.exit(main())
