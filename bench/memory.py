"""How much memory publish, seed, fetch and verify take for a large release.

What should be needed does not grow with the release, except libtorrent's hash trees of files under way (32 bytes a
16 KiB leaf, 2 MiB a GiB, and once more while resume data is written) and our piece hashes (32 bytes a piece). At
20 GiB that is about 100 MiB on top of the interpreter, the engine (60 MiB) and its write queue. Prediction, written
before the first run: publish and verify under 120 MiB, seed under 120 MiB, fetch under 350 MiB.

The checkpoint is sparse, so it costs no disk; what is fetched is written out in full. Each figure is the largest sum
over the whole process tree, sampled (PSS: pages shared by its processes count once), with the kernel's own peak of the
largest single process beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.harness import hardware, print_table, publish
from weightshare.units import GIB, MIB, parse_size

ROOT = Path(__file__).resolve().parents[1]
COMMAND = [sys.executable, "-m", "weightshare_cli"]
LIMIT = 3600
EVERY = 0.1


@dataclass
class Peak:
    """The largest memory seen, in bytes."""

    tree: int = 0
    process: int = 0

    def look(self, root: int) -> None:
        """Take one sample of a process and its children."""
        total = 0
        for pid in _tree(root):
            pss, high = _memory_of(pid)
            total += pss
            self.process = max(self.process, high)
        self.tree = max(self.tree, total)


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", default="20GiB", help="bytes of the release (20GiB)")
    parser.add_argument("--data", type=Path, default=Path(tempfile.gettempdir()), help="where data lies")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    parser.add_argument("--out", type=Path, help="write the JSON object to a file")
    asked = parser.parse_args()
    size = parse_size(asked.size)
    facts = hardware()
    with tempfile.TemporaryDirectory(dir=asked.data, prefix="weightshare-bench-") as work:
        peaks, seconds = _measure(Path(work), size)
    result: dict[str, Any] = {
        "bench": "memory",
        "hardware": facts,
        "size_gib": size / GIB,
        "data": "sparse source on disk; what is fetched is written in full",
        "peak_tree_mib": {verb: peak.tree / MIB for verb, peak in peaks.items()},
        "peak_process_mib": {verb: peak.process / MIB for verb, peak in peaks.items()},
        "seconds": seconds,
        "ratios": {f"{verb}_of_400_mb": peak.tree / 400e6 for verb, peak in peaks.items()},
    }
    print_table(
        f"peak memory, {size / GIB:.0f} GiB",
        ["command", "whole tree, MiB", "largest process, MiB", "seconds"],
        [[verb, peak.tree / MIB, peak.process / MIB, seconds.get(verb)] for verb, peak in peaks.items()],
    )
    publish(result, as_json=asked.json, out=asked.out)


def _measure(work: Path, size: int) -> tuple[dict[str, Peak], dict[str, float]]:
    folder, home, leech = work / "model", work / "home", work / "leech"
    _make(folder, size)
    peaks = {verb: Peak() for verb in ("publish", "seed", "fetch", "verify")}
    seconds: dict[str, float] = {}

    def run(verb: str, where: Path, *words: str, also: tuple[Peak, int] | None = None) -> dict[str, Any]:
        began = time.perf_counter()
        with subprocess.Popen(
            [*COMMAND, *words, "--json", "--quiet"],
            stdout=subprocess.PIPE,
            env=_environment(where),
            text=True,
        ) as process:
            while process.poll() is None:
                peaks[verb].look(process.pid)
                if also is not None:
                    also[0].look(also[1])
                if time.perf_counter() - began > LIMIT:
                    process.kill()
                time.sleep(EVERY)
            assert process.stdout is not None
            answer: dict[str, Any] = json.loads(process.stdout.read())
        if process.returncode:
            raise SystemExit(f"{verb} ended with {process.returncode}: {answer}")
        seconds[verb] = time.perf_counter() - began
        return answer

    subprocess.run([*COMMAND, "keys", "new", "bench", "--quiet"], check=True, env=_environment(home))
    made = run("publish", home, "publish", str(folder), "--name", "bench/model")
    subprocess.run(
        [*COMMAND, "trust", "add", "bench", made["publisher"], "--quiet"], check=True, env=_environment(leech)
    )
    with ExitStack() as stack:
        pid, port = stack.enter_context(_seeder(home))
        run(
            "fetch",
            leech,
            "fetch",
            made["magnet"],
            str(work / "out"),
            "--peer",
            f"127.0.0.1:{port}",
            also=(peaks["seed"], pid),
        )
    run("verify", leech, "verify", str(work / "out"))
    return peaks, seconds


def _make(folder: Path, size: int) -> None:
    """Two sparse safetensors shards, each one large tensor of zeros."""
    folder.mkdir()
    for index in range(2):
        payload = size // 2
        header = json.dumps(
            {f"t{index}": {"dtype": "U8", "shape": [payload], "data_offsets": [0, payload]}}
        ).encode()
        header += b" " * (-len(header) % 8)
        with (folder / f"model-{index}.safetensors").open("wb") as file:
            file.write(struct.pack("<Q", len(header)) + header)
            file.truncate(8 + len(header) + payload)


def _environment(home: Path) -> dict[str, str]:
    search = [str(ROOT), str(ROOT / "cli"), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(search),
        "WEIGHTSHARE_HOME": str(home),
        "WEIGHTSHARE_NETWORK": "local",
    }


@contextmanager
def _seeder(home: Path) -> Iterator[tuple[int, int]]:
    with subprocess.Popen(
        [*COMMAND, "seed", "--json", "--quiet"], stdout=subprocess.PIPE, env=_environment(home), text=True
    ) as process:
        out: IO[str] | None = process.stdout
        assert out is not None
        try:
            yield process.pid, int(json.loads(out.readline())["port"])
        finally:
            process.terminate()


def _tree(root: int) -> list[int]:
    """A process and all that descend from it."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue
    found = [root]
    for pid in found:
        found.extend(child for child, parent in parents.items() if parent == pid)
    return found


def _memory_of(pid: int) -> tuple[int, int]:
    """Proportional set size just now, and peak resident size so far, in bytes; zeros for one that has ended."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0, 0
    return _field(rollup, "Pss:"), _field(status, "VmHWM:")


def _field(text: str, name: str) -> int:
    for line in text.splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    return 0


if __name__ == "__main__":
    main()
