"""How soon a fetch of a terabyte goes on after a restart, what it keeps for that, and what memory it takes.

A release of 256 sparse files of 4 GiB, of which an earlier run had all but some pieces, is served by our `seed` on
loopback; our `fetch` is started on it, and the clock runs from there until the first missing byte is in its file. That
is measured after an orderly stop, after a kill, and after a reboot (another boot id in the journal), with the missing
pieces in one file and, after a stop, spread over all of them. Then it runs on for some seconds while it reads the old
pieces back, its memory being watched, and is stopped by Ctrl-C, which must end well.

What has to be kept is 36 bytes a piece. libtorrent's own resume data, measured beside it on a file of 256 MiB, has a
hash for every 16 KiB and one for every node above: 64 bytes a block at its fullest, and 32 once a file is whole.

Prediction, written before the first run: start of the interpreter and the gate 1 s, reading and vouching for 65,536
journal records 0.5 s, first piece 1 s: 3 s in all, and 10 at most on a busy machine. State 2.4 MB a TiB. Memory 300
MB, with the missing pieces in one file; libtorrent allocates a whole file's tree (16 MiB for 4 GiB) with its first
block, so spread over 256 files it is up to 4 GiB more, if nothing is done about it. (The first runs with files that
differ took as much with one file missing too: the engine asks for the hashes of every file whose piece layer it lacks.
It is now given those that the journal knows.)

The second part is how fast old pieces are read again (in the background of a fetch, with nothing else to do here), and
how fast `verify` is, on sparse files too: reading a hole costs what reading the page cache costs. The bound is SHA-256
over 16 KiB leaves on all cores at once, from memory; `verify` makes the files' SHA-256 as well, so its bound is half of
that. Prediction: 0.9 of the bound for both, with memory flat.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.harness import hardware, print_table, publish
from bench.large_release import Large, build, fetched_at, publish_at, state_size
from bench.memory import COMMAND, Peak, _environment
from bench.rereading import engine_state, reread, sha_bound, verify
from tests.builders_releases import signer
from weightshare.content import journal as journal_module
from weightshare.content.home import Home
from weightshare.content.store import STAGING
from weightshare.units import GIB, MIB

LIMIT = 600.0
LOOK_EVERY = 0.005
STATES = ("stopped", "killed", "rebooted", "stopped, missing in all files")


def main() -> None:
    """Measure and report."""
    asked = _arguments()
    facts = hardware()
    with ExitStack() as stack:
        work = stack.enter_context(_room(asked.files * asked.file_size))
        release = build(signer(), count=asked.files, size=asked.file_size, piece_length=asked.piece_length)
        restarts = _restarts(work / "restart", release, asked)
        again = reread(work / "reread", release, asked.seconds)
        verified = verify(work / "verify", asked.seconds, asked.file_size, asked.piece_length)
    bounds = [sha_bound(asked.seconds / 4) for _ in range(3)]
    bound = sorted(bounds)[1]
    kept = max(one["state_bytes"] for one in restarts.values())
    engine = engine_state()
    total = asked.files * asked.file_size
    result: dict[str, Any] = {
        "bench": "resume",
        "hardware": facts,
        "setup": {
            "files": asked.files,
            "file_bytes": asked.file_size,
            "piece_length": asked.piece_length,
            "missing_pieces": asked.missing,
            "data": "sparse, on tmpfs",
        },
        "restart": restarts,
        "state_bytes": kept,
        "engine_state_bytes_per_gib": engine,
        "reread": again,
        "verify": verified,
        "sha256_bytes_per_second": bound,
        "sha256_runs": bounds,
        "ratios": {
            "restart_of_10_s": max(one["first_byte_seconds"] for one in restarts.values()) / 10,
            "state_vs_engine": kept / (engine * total / GIB),
            "memory_of_1_gb": max(restarts[name]["peak_tree_bytes"] for name in STATES[:3]) / 1e9,
            "memory_all_files_of_1_gb": restarts[STATES[3]]["peak_tree_bytes"] / 1e9,
            "reread_of_bound": again["bytes_per_second"] / bound,
            "verify_of_bound": verified["bytes_per_second"] / (bound / 2),
        },
    }
    _print(result)
    publish(result, as_json=asked.json, out=asked.out)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--files", type=int, default=256, help="files of 4 GiB (256)")
    parser.add_argument("--missing", type=int, default=128, help="pieces that had not come (128)")
    parser.add_argument("--seconds", type=float, default=20, help="time for each measured rate (20)")
    parser.add_argument("--quick", action="store_true", help="a sixteenth of it")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    parser.add_argument("--out", type=Path, help="write the JSON object to a file")
    asked = parser.parse_args()
    asked.file_size, asked.piece_length = 4 * GIB, 16 * MIB
    if asked.quick:
        asked.files, asked.missing, asked.seconds = 16, 16, 4.0
    return asked


@contextmanager
def _room(size: int) -> Iterator[Path]:
    """A file system that says it has room for the release; what is written stays small."""
    with tempfile.TemporaryDirectory(prefix="weightshare-bench-") as folder:
        options = f"size={4 * size},nr_inodes=100000"
        mount = ["mount", "-t", "tmpfs", "-o", options, "weightshare-bench", folder]
        if subprocess.run(mount, check=False, capture_output=True).returncode:
            raise SystemExit("This needs to mount a tmpfs: run it as root, or under `unshare -rm`.")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)


# ---- restarts


def _restarts(work: Path, release: Large, asked: argparse.Namespace) -> dict[str, Any]:
    publisher = work / "publisher"
    publish_at(release, Home(publisher), work / "model")
    measured = {}
    trust = ("--trust", release.key.public_key.fingerprint)
    with _seeder(publisher, *trust) as port:
        for number, name in enumerate(STATES):
            user, out = work / f"user-{number}", work / f"out-{number}"
            missing = _missing(release, asked.missing, everywhere="all" in name)
            with _boot("another boot" if name == "rebooted" else None):
                state = fetched_at(release, Home(user), out, missing, stopped=name.startswith("stopped"))
            words = ("fetch", release.magnet, str(out), *trust, "--peer", f"127.0.0.1:{port}")
            measured[name] = _restart(user, out, state, words, release, missing, asked.seconds)
    return measured


def _missing(release: Large, count: int, *, everywhere: bool) -> set[int]:
    spans = [span for span in release.pieces.spans if span.count > 1]
    if everywhere:
        return {
            span.pieces[1 + number % (span.count - 1)]
            for number, span in zip(range(count), spans * count, strict=False)
        }
    return set(spans[0].pieces[1 : count + 1])


def _restart(
    user: Path,
    out: Path,
    state: Path,
    words: tuple[str, ...],
    release: Large,
    missing: set[int],
    seconds: float,
) -> dict[str, Any]:
    staging = next(out.glob(f"{STAGING}/*/{release.info.name}"))
    spans = {release.pieces.span_of(piece).file.path for piece in missing}
    watched = [staging / path for path in sorted(spans)]
    empty = _taken(watched)
    peak = Peak()
    began = time.perf_counter()
    with subprocess.Popen(
        [*COMMAND, *words, "--json", "--quiet"], stdout=subprocess.PIPE, env=_environment(user), text=True
    ) as process:
        while _taken(watched) == empty:
            _still(process, began)
            time.sleep(LOOK_EVERY)
        first = time.perf_counter() - began
        all_here = None
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            peak.look(process.pid)
            _still(process, began)
            if all_here is None and _taken(watched) - empty >= len(missing) * 16 * MIB:
                all_here = time.perf_counter() - began
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        stopping = time.perf_counter()
        status = process.wait(60)
        stopped = time.perf_counter() - stopping
    if status != 130:
        raise SystemExit(f"the fetch ended with {status} and not with 130")
    return {
        "first_byte_seconds": first,
        "all_missing_seconds": all_here,
        "stop_seconds": stopped,
        "peak_tree_bytes": peak.tree,
        "peak_process_bytes": peak.process,
        "state_bytes": state_size(state),
    }


def _taken(files: list[Path]) -> int:
    """Bytes that files take on the disk."""
    return sum(path.stat().st_blocks for path in files) * 512


def _still(process: subprocess.Popen[str], began: float) -> None:
    if process.poll() is not None:
        raise SystemExit(
            f"the fetch ended with {process.returncode}: {process.stdout and process.stdout.read()}"
        )
    if time.perf_counter() - began > LIMIT:
        process.kill()
        raise SystemExit("nothing arrived in time")


@contextmanager
def _boot(identity: str | None) -> Iterator[None]:
    """Write journals as if in another boot of this machine."""
    kept = journal_module._boot
    if identity is not None:
        journal_module._boot = lambda: identity.encode()  # type: ignore[assignment]
    try:
        yield
    finally:
        journal_module._boot = kept


@contextmanager
def _seeder(home: Path, *words: str) -> Iterator[int]:
    with subprocess.Popen(
        [*COMMAND, "seed", "--json", "--quiet", *words],
        stdout=subprocess.PIPE,
        env=_environment(home),
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield int(json.loads(process.stdout.readline())["port"])
        finally:
            process.terminate()


def _print(result: dict[str, Any]) -> None:
    setup = result["setup"]
    total = setup["files"] * setup["file_bytes"]
    print_table(
        f"restart of a fetch of {total / GIB:.0f} GiB, {setup['missing_pieces']} pieces missing",
        ["after it was", "first byte, s", "all of them, s", "memory, MB", "state, MB"],
        [
            [
                name,
                one["first_byte_seconds"],
                one["all_missing_seconds"],
                one["peak_tree_bytes"] / 1e6,
                one["state_bytes"] / 1e6,
            ]
            for name, one in result["restart"].items()
        ],
    )
    bound = result["sha256_bytes_per_second"]
    print_table(
        f"\nrates, {result['hardware']['cores']} cores",
        ["what", "MB/s", "of its bound", "memory, MB"],
        [
            ["SHA-256 of 16 KiB leaves", bound / 1e6, 1.0, None],
            [
                "reading old pieces again",
                result["reread"]["bytes_per_second"] / 1e6,
                result["ratios"]["reread_of_bound"],
                result["reread"]["peak_tree_bytes"] / 1e6,
            ],
            [
                "verify (two digests)",
                result["verify"]["bytes_per_second"] / 1e6,
                result["ratios"]["verify_of_bound"],
                result["verify"]["peak_tree_bytes"] / 1e6,
            ],
        ],
    )
    engine = result["engine_state_bytes_per_gib"] * total / GIB
    print(f"\nlibtorrent's own resume data would be {engine / 1e6:,.0f} MB.", file=sys.stderr)


if __name__ == "__main__":
    main()
