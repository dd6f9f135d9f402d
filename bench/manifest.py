"""How long the gate takes to read and verify a manifest, in a fresh process.

A release of 10,000 files, the most there may be, has a manifest of about 5 MB. Everything that SPEC.md demands of it is
checked: the envelope, the signature, the JSON, every path against every other. The target is 0.3 s, beside a bound
that checks nothing: base64 and json.loads of the same bytes, twice, as the envelope and the statement need.

The process is new for each run, so caches are cold and the interpreter's own start is not counted; what the imports
take is shown beside it. A run is short, so there are many, in turns; the median counts, and the best is named too.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.harness import alternate, hardware, in_subprocess, medians, print_table, publish, undisturbed
from weightshare.manifest.model import FileEntry, Manifest, ModelFacts, Publisher, TorrentFacts
from weightshare.trust.keys import FileSigner
from weightshare.trust.publishers import KnownPublishers, Pin
from weightshare.trust.signing import sign
from weightshare.units import MIB

ROOT = Path(__file__).resolve().parents[1]
TARGET = 0.3
FILES = (10, 1_000, 10_000)

VERIFY = """
import sys, time, pathlib
sys.path.insert(0, sys.argv[1])
began = time.perf_counter()
from weightshare.trust.gate import verify
from weightshare.trust.publishers import KnownPublishers
imported = time.perf_counter()
envelope = pathlib.Path(sys.argv[2]).read_bytes()
known = KnownPublishers.parse(sys.argv[3])
start, cpu = time.perf_counter(), time.process_time()
files = verify(envelope, known).manifest.files
end, spent = time.perf_counter(), time.process_time() - cpu
assert len(files) == int(sys.argv[4])
print([imported - began, end - start, spent])
"""

BOUND = """
import sys, time, pathlib, base64, json
envelope = pathlib.Path(sys.argv[2]).read_bytes()
start, cpu = time.perf_counter(), time.process_time()
files = json.loads(base64.b64decode(json.loads(envelope)["payload"]))["predicate"]["files"]
end, spent = time.perf_counter(), time.process_time() - cpu
assert len(files) == int(sys.argv[4])
print([0.0, end - start, spent])
"""


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=21, help="runs of each side (default 21)")
    parser.add_argument(
        "--tries", type=int, default=1, help="tries to find a quiet moment for a run (default 1)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    parser.add_argument("--out", type=Path, help="also write it to a file")
    asked = parser.parse_args()
    facts = hardware()
    others: dict[str, list[float]] = {}
    shares: list[float] = []
    key = FileSigner(Ed25519PrivateKey.from_private_bytes(bytes(32)))
    with tempfile.TemporaryDirectory(prefix="weightshare-bench-") as scratch:
        sides: dict[str, Callable[[], float]] = {}
        sizes: dict[str, int] = {}
        for count in FILES:
            path = Path(scratch) / f"{count}.json"
            path.write_bytes(sign(_manifest(key, count), key).to_bytes())
            sizes[str(count)] = path.stat().st_size
            sides[f"verify {count}"] = _side(VERIFY, path, key, count, others)
            sides[f"bound {count}"] = _side(BOUND, path, key, count, others)
        if asked.tries > 1:
            sides = {name: undisturbed(side, shares, tries=asked.tries) for name, side in sides.items()}
        runs = alternate(sides, asked.runs)
    facts["others_share_at_most"] = max(shares, default=None)
    seconds = medians(runs)
    result: dict[str, Any] = {
        "benchmark": "manifest",
        "hardware": facts,
        "setup": {
            "files": list(FILES),
            "envelope_bytes": sizes,
            "runs": asked.runs,
            "statistic": "median",
            "process": "a fresh one for each run; its start and imports are not counted",
        },
        "target_seconds": TARGET,
        "seconds": {name: round(value, 4) for name, value in seconds.items()},
        "best_seconds": {name: round(min(values), 4) for name, values in runs.items()},
        "cpu_seconds": {
            name: round(value, 4) for name, value in medians(others).items() if name != "imports"
        },
        "import_seconds": round(medians(others)["imports"], 4),
        "ratios": {"of_target": round(seconds[f"verify {FILES[-1]}"] / TARGET, 3)},
        "all_runs": {name: [round(value, 4) for value in values] for name, values in runs.items()},
    }
    rows = [
        (
            f"{count:,} files",
            sizes[str(count)] / MIB,
            1000 * seconds[f"verify {count}"],
            1000 * min(runs[f"verify {count}"]),
            1000 * medians(others)[f"verify {count}"],
            1000 * seconds[f"bound {count}"],
        )
        for count in FILES
    ]
    title = f"Reading and verifying a manifest, median of {asked.runs}"
    print_table(title, ("release", "MiB", "ours, ms", "best", "processor time", "json.loads alone, ms"), rows)
    publish(result, as_json=asked.json, out=asked.out)


def _manifest(key: FileSigner, count: int) -> Manifest:
    files = []
    for number in range(count):
        path = f"experts/{number // 100:03}/model-{number + 1:05}-of-{count:05}.safetensors"
        digest = hashlib.sha256(path.encode()).digest()
        files.append(FileEntry(path, 5 * MIB + number, digest, digest[::-1], "application/x-safetensors"))
    return Manifest(
        files=tuple(files),
        publisher=Publisher("acme", (key.public_key.fingerprint,)),
        model=ModelFacts("acme/m7b", "1.0", 1, "2026-11-22T10:00:00Z", "a model for measuring"),
        torrent=TorrentFacts("m7b", 4 * MIB, hybrid=True),
    )


def _side(
    code: str, path: Path, key: FileSigner, count: int, others: dict[str, list[float]]
) -> Callable[[], float]:
    """Seconds of one reading; its processor time, and what the imports took, are added to `others`."""
    public = key.public_key
    pins = KnownPublishers((Pin("acme", public.fingerprint, public),)).render()
    what = f"{'verify' if code == VERIFY else 'bound'} {count}"

    def run() -> float:
        imported, spent, cpu = in_subprocess(code, str(ROOT), str(path), pins, str(count))
        others.setdefault(what, []).append(cpu)
        if code == VERIFY:
            others.setdefault("imports", []).append(imported)
        return float(spent)

    return run


if __name__ == "__main__":
    main()
