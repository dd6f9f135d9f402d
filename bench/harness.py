"""What the benchmarks share: alternating runs, medians, facts about the machine, a table for people.

Figures name the machine by its parts (processor, cores, kernel, versions), never by host name or path, so
that a result file can be published.
"""

from __future__ import annotations

import json
import os
import platform
import re
import ssl
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

# What is installed has its bytecode; where a container forbids to keep it, ours would be compiled in each process.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def hardware() -> dict[str, Any]:
    """The facts a figure depends on: processor, cores, memory, kernel, versions, load before the run."""
    return {
        "cpu": _cpu_model(),
        "cores": cores(),
        "memory_gib": round(_memory() / 2**30, 1),
        "system": platform.system(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "openssl": ssl.OPENSSL_VERSION,
        "load_before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def cores() -> int:
    """Cores this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def alternate(sides: Mapping[str, Callable[[], float]], runs: int) -> dict[str, list[float]]:
    """Run each side in turn, `runs` times over, so that a busy minute hits all; each returns its figure."""
    figures: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(runs):
        # Every other turn runs backwards: no side always has the same neighbour.
        for name in reversed(list(sides)) if turn % 2 else sides:
            figures[name].append(sides[name]())
    return figures


def undisturbed(
    run: Callable[[], float], shares: list[float], *, limit: float = 0.03, tries: int = 30
) -> Callable[[], float]:
    """The same run, repeated while other programs get in its way; what they did is measured, not guessed.

    A run begins once the machine has been idle for a second (or a minute has gone by), and counts if programs
    other than this one and its children, and the hypervisor, took no more than `limit` of the processor time
    while it lasted. After so many tries the least disturbed one counts. Its share is added to `shares`.
    Outside Linux the run is taken as it is.
    """
    if sys.platform != "linux":
        return run

    def quiet() -> float:
        best: tuple[float, float] | None = None
        for _ in range(tries):
            _await_idle(60)
            total, busy, own = _processor_time()
            figure = run()
            total, busy, own = (b - a for a, b in zip((total, busy, own), _processor_time(), strict=True))
            share = max(0.0, (busy - own) / total)
            if best is None or share < best[0]:
                best = share, figure
            if share <= limit:
                break
        assert best is not None
        shares.append(round(best[0], 3))
        return best[1]

    return quiet


def medians(figures: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The median of each side."""
    return {name: statistics.median(values) for name, values in figures.items()}


def in_subprocess(code: str, *arguments: str) -> Any:
    """Run Python code in a fresh interpreter and return the JSON it prints last.

    Raises:
        RuntimeError: it failed; the message holds what it wrote to stderr.
    """
    ran = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    if ran.returncode:
        raise RuntimeError(f"the subprocess ended with {ran.returncode}:\n{ran.stderr.strip()}")
    return json.loads(ran.stdout.splitlines()[-1])


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A plain table on stderr: text to the left, numbers to the right."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(len(text) for text in column) for column in zip(columns, *cells, strict=True)]
    numeric = [all(isinstance(row[i], int | float | None) for row in rows) for i in range(len(columns))]

    def line(texts: Sequence[str]) -> str:
        parts = (
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(texts, widths, numeric, strict=True)
        )
        return "  ".join(parts).rstrip()

    report = [title, "", line(columns), line(["-" * width for width in widths]), *map(line, cells)]
    print("\n".join(report), file=sys.stderr)


def publish(result: Mapping[str, Any], *, as_json: bool, out: Path | None) -> None:
    """Print the result as one JSON object on stdout if asked to, and write it to `out` if given."""
    if as_json:
        print(json.dumps(result))
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(result, indent=2) + "\n")


def _await_idle(patience: float) -> None:
    end = time.monotonic() + patience
    while time.monotonic() < end:
        total, busy, _ = _processor_time()
        time.sleep(1)
        later, busier, _ = _processor_time()
        if busier - busy < 0.05 * (later - total):
            return


def _processor_time() -> tuple[float, float, float]:
    """Seconds so far, of all cores: in all, not idle (stolen by the hypervisor included), ours."""
    ticks = [int(text) for text in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
    total, idle = sum(ticks), ticks[3] + ticks[4]
    own = sum(os.times()[:4])
    second = os.sysconf("SC_CLK_TCK")
    return total / second, (total - idle) / second, own


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}"
    return "" if value is None else str(value)


def _cpu_model() -> str:
    try:
        match = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        match = None
    return match[1] if match else platform.processor() or platform.machine()


def _memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0
