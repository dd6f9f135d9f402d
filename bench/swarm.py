"""How near to the physical bound a crowd ends: one `weightshare seed`, N `weightshare fetch` that begin at once.

Each process runs in a network namespace of its own, its link shaped to the same rate each way by tc, `--network lan`,
finding the others as on any cluster: by local service discovery, nothing said beforehand but the link. Every fetch
stays (`--seed-for`) until all are complete, and the clock runs from the moment all are given the link, imports done,
until the last one has every byte proven and under its final name. Then nginx on the seeder's node serves the same files
over the same links to as many curls, which check nothing.

The bound is the fluid one, max(F/us, F/dmin, N F/(us + sum u)), at the nominal rate: F bytes, us and u upload of seeder
and peers, d download. Headers alone are 1.045 of it. Prediction, written before the first run: a bare harness with
these settings ended at 1.08-1.10 for 8 peers, 1 GiB and 200 Mbit/s. To that come a start by magnet link and manifest
(0.5 s), finding each other (0.3 s) and the last pieces' proof (0.1 s), 0.02 of 43 s: 1.11 at 8 peers, 1.14 at 16; last
over median 1.03, seeder 1.05 copies; HTTP 8.4 and 16.8. With 40 ms from each node to the switch and so 80 ms of round
trip: each start and each end of the crowd waits for some 20 round trips more, 1.6 s: at 20 Mbit/s and 128 MiB (bound
54 s) 1.15. Where a tenth of the peers lies, each is heard once by everybody and banned at its first bad piece, which
costs all of them one piece at most; where a tenth is killed half way, the survivors have its pieces elsewhere: 1.2.

Refuse a run that took more than 85 % of the processor: then it was not the network that was measured.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.crowd import Fetch, begin, follow, liars, seeder, weightshare
from bench.harness import hardware, print_table, publish
from tests.namespaces import Lan, Node, missing
from weightshare.units import GIB, MIB, parse_duration, parse_size

HTTP_PORT = 8080
FULL = 85


@dataclass
class Load:
    """The processor's time and the links' bytes between two moments."""

    lan: Lan
    busy: tuple[float, float] = (0.0, 0.0)
    seen: list[tuple[float, list[tuple[int, int]]]] = field(default_factory=list)

    def start(self) -> None:
        """Begin to count."""
        self.busy = _processor()
        self.seen = []
        self.look()

    def look(self) -> None:
        """Note what has crossed the links."""
        self.seen.append((time.perf_counter(), self.lan.crossed()))

    def percent(self) -> float:
        """How much of the processor was in use since the start, by whomever."""
        total, busy = (after - before for before, after in zip(self.busy, _processor(), strict=True))
        return round(100 * busy / total, 1) if total else 0.0

    def tenths(self, rate: float, peers: int) -> list[tuple[int, int, int]]:
        """For each tenth of the time, per cent of the rate: seeder up, peers up, peers down, headers included."""
        first, last = self.seen[0][0], self.seen[-1][0]
        edges = [self._nearest(first + (last - first) * tenth / 10) for tenth in range(11)]
        found = []
        for (began, before), (ended, after) in itertools.pairwise(edges):
            span = max(ended - began, 1e-9)
            sent = [a[0] - b[0] for a, b in zip(after, before, strict=True)]
            got = [a[1] - b[1] for a, b in zip(after, before, strict=True)]
            peer_span = span * rate * peers
            found.append(
                (
                    round(100 * sent[0] / span / rate),
                    round(100 * sum(sent[1 : peers + 1]) / peer_span),
                    round(100 * sum(got[1 : peers + 1]) / peer_span),
                )
            )
        return found

    def _nearest(self, moment: float) -> tuple[float, list[tuple[int, int]]]:
        return min(self.seen, key=lambda one: abs(one[0] - moment))


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--peers", type=int, default=8, help="fetches (8)")
    parser.add_argument("--rate", default="200mbit", help="of each link, each way, as tc writes it (200mbit)")
    parser.add_argument("--size", default="1GiB", help="bytes of the release (1GiB)")
    parser.add_argument("--delay", default="0", help="from each node to the switch: 40ms (0)")
    parser.add_argument(
        "--liars", default="0%", help="peers besides that send wrong bytes, of a hundred (0%%)"
    )
    parser.add_argument("--killed", default="0%", help="fetches killed half way, of a hundred (0%%)")
    parser.add_argument("--runs", type=int, default=1, help="crowds, one after the other (1)")
    parser.add_argument("--no-http", action="store_true", help="leave nginx out")
    parser.add_argument("--data", type=Path, default=Path("/dev/shm"), help="where data lies (/dev/shm)")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    parser.add_argument("--out", type=Path, help="write the JSON object to a file")
    asked = parser.parse_args()
    if missing():
        raise SystemExit(f"bench/swarm.py wants network namespaces: {missing()}")
    facts = hardware()
    runs: list[dict[str, Any]] = []
    for _ in range(asked.runs):
        with tempfile.TemporaryDirectory(dir=asked.data, prefix="weightshare-bench-") as name:
            runs.append(_crowd(Path(name), asked, http=not asked.no_http and not runs))
    _report(asked, facts, runs)


def _crowd(work: Path, asked: argparse.Namespace, *, http: bool) -> dict[str, Any]:
    work.chmod(0o755)
    size, rate = parse_size(asked.size), _rate(asked.rate)
    lying, killed = (math.ceil(asked.peers * _share(text)) for text in (asked.liars, asked.killed))
    folder = work / "model"
    total, digests = _make(folder, size)
    made = _publish(work, folder)
    bound = total / rate  # all rates are equal: F/us and F/d, and N F/((N + 1) u) is less
    with ExitStack() as stack:
        lan = stack.enter_context(Lan(1 + asked.peers + lying, rate=asked.rate, delay=_seconds(asked.delay)))
        stop_seeder = stack.enter_context(seeder(lan.nodes[0], work / "home"))
        stop_liars = stack.enter_context(
            liars(
                lan.nodes[1 + asked.peers :],
                Path(made["torrent"]),
                _falsified(work, folder) if lying else work,
            )
        )
        fetches = []
        for number, node in enumerate(lan.nodes[1 : 1 + asked.peers]):
            home = work / f"home-{number}"
            weightshare(home, "trust", "add", "bench", made["publisher"])
            fetches.append(stack.enter_context(_fetch(node, home, work / f"out-{number}")))
        began = begin(fetches, made["magnet"])
        load = Load(lan)
        load.start()
        doomed = list(fetches[:killed])

        def look() -> None:
            load.look()
            if doomed and time.perf_counter() - began > bound / 2:
                doomed.pop().kill()

        follow(fetches, 60 + 20 * bound, look)
        cpu, given = load.percent(), stop_seeder()
        lied = stop_liars() if lying else []
        if any(liar["uploaded"] > total / 10 for liar in lied):
            raise SystemExit(f"a liar was not banned: {lied}")
        survivors = [fetch for fetch in fetches if not fetch.killed]
        for fetch in fetches:
            fetch.end()
        for fetch in fetches:
            fetch.reap()
        wrong = [fetch.node.address for fetch in survivors if _digests(fetch.target) != digests]
        if wrong:
            raise SystemExit(f"other bytes than were published: {', '.join(wrong)}")
        seconds = sorted(fetch.complete - began for fetch in survivors if fetch.complete is not None)
        dropped = lan.dropped()
        for fetch in fetches:
            shutil.rmtree(fetch.target, ignore_errors=True)
        http_seconds, http_cpu = _http(work, folder, lan, asked.peers, stack) if http else (None, None)
    return {
        "bytes": total,
        "bound_seconds": bound,
        "seconds": [round(value, 3) for value in seconds],
        "http_seconds": http_seconds,
        "seeder_copies": given / total,
        "twice": sum(f.result["received"]["swarm"] - total for f in survivors) / total / len(survivors),
        "cpu_percent": cpu,
        "http_cpu_percent": http_cpu,
        "dropped_frames": dropped,
        "liars": lied,
        "killed": killed,
        "percent_of_rate_by_tenth": load.tenths(rate, asked.peers),
    }


def _report(asked: argparse.Namespace, facts: dict[str, Any], runs: Sequence[dict[str, Any]]) -> None:
    middle = sorted(runs, key=lambda run: run["seconds"][-1])[(len(runs) - 1) // 2]
    last = statistics.median(run["seconds"][-1] for run in runs)
    http = next((run["http_seconds"] for run in runs if run["http_seconds"] is not None), None)
    ratios = {
        "of_bound": last / middle["bound_seconds"],
        "last_over_median": statistics.median(
            r["seconds"][-1] / statistics.median(r["seconds"]) for r in runs
        ),
        "seeder_copies": statistics.median(run["seeder_copies"] for run in runs),
        **({"vs_http": http / last} if http is not None else {}),
    }
    result: dict[str, Any] = {
        "bench": "swarm",
        "hardware": facts,
        "peers": asked.peers,
        "rate": asked.rate,
        "delay": asked.delay,
        "liars": asked.liars,
        "killed": asked.killed,
        "size_gib": middle["bytes"] / GIB,
        "runs": runs,
        "ratios": ratios,
    }
    print_table(
        f"a crowd of {asked.peers}, {middle['bytes'] / MIB:.0f} MiB, links of {asked.rate}, delay {asked.delay}",
        ["run", "last, s", "median, s", "bound, s", "of bound", "seeder copies", "twice", "CPU %", "dropped"],
        [
            [
                number + 1,
                run["seconds"][-1],
                statistics.median(run["seconds"]),
                run["bound_seconds"],
                run["seconds"][-1] / run["bound_seconds"],
                run["seeder_copies"],
                run["twice"],
                run["cpu_percent"],
                run["dropped_frames"],
            ]
            for number, run in enumerate(runs)
        ],
    )
    if http is not None:
        print(f"\nnginx and curl: {http:.1f} s, {http / last:.2f} times ours", file=sys.stderr)
    for run in runs:
        if run["cpu_percent"] > FULL:
            print(
                f"\nCPU {run['cpu_percent']} %: this measured the processor, not the network", file=sys.stderr
            )
    tenths = " ".join("/".join(map(str, tenth)) for tenth in middle["percent_of_rate_by_tenth"])
    print(f"\nseeder up/peers up/peers down, % of the rate by tenth of the time: {tenths}", file=sys.stderr)
    for liar in middle["liars"]:
        print(
            f"a liar: {liar['uploaded'] / MIB:.1f} MiB sent until all had banned it",
            file=sys.stderr,
        )
    publish(result, as_json=asked.json, out=asked.out)


# ---- what is served


def _make(folder: Path, size: int) -> tuple[int, dict[str, str]]:
    """Two large files of random bytes, and a small one."""
    folder.mkdir(parents=True)
    for index in range(2):
        with (folder / f"shard-{index}.data").open("wb") as file:
            left = size // 2
            while left:
                left -= file.write(os.urandom(min(left, 8 * MIB)))
    (folder / "config.json").write_text("{}\n")
    return sum(path.stat().st_size for path in folder.iterdir()), _digests(folder)


def _digests(folder: Path) -> dict[str, str]:
    found = {}
    for path in sorted(folder.iterdir()):
        if path.name != "weightshare.json" and path.is_file():
            with path.open("rb") as file:
                found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _publish(work: Path, folder: Path) -> dict[str, Any]:
    weightshare(work / "home", "keys", "new", "bench")
    made: dict[str, Any] = json.loads(
        weightshare(work / "home", "publish", str(folder), "--name", "bench/model", "--json")
    )
    return made


def _falsified(work: Path, folder: Path) -> Path:
    """The same files with every byte turned over, laid out as the torrent has them."""
    place = work / "lies" / folder.name
    place.mkdir(parents=True)
    turned = bytes(255 - value for value in range(256))
    for path in folder.iterdir():
        with path.open("rb") as source, (place / path.name).open("wb") as target:
            while chunk := source.read(8 * MIB):
                target.write(chunk.translate(turned))
    return place.parent


# ---- the processes


@contextmanager
def _fetch(node: Node, home: Path, target: Path) -> Iterator[Fetch]:
    fetch = Fetch(node, home, target)
    try:
        yield fetch
    finally:
        if fetch.process.poll() is None:
            fetch.process.kill()
        fetch.process.wait()


def _http(work: Path, folder: Path, lan: Lan, peers: int, stack: ExitStack) -> tuple[float, float]:
    """Seconds until the last of so many curls has everything from one nginx, and the processor's share."""
    place = work / "nginx"
    place.mkdir()
    (place / "nginx.conf").write_text(
        f"""daemon off; pid {place}/pid; error_log {place}/error.log; worker_processes 1;
        events {{}}
        http {{
          access_log off; sendfile on; tcp_nopush on;
          client_body_temp_path {place}; proxy_temp_path {place}; fastcgi_temp_path {place};
          uwsgi_temp_path {place}; scgi_temp_path {place};
          server {{ listen {HTTP_PORT}; root {folder}; }}
        }}
        """
    )
    for path in (work, place, folder):
        path.chmod(0o755)  # its worker runs as another user
    server = subprocess.Popen(
        lan.nodes[0].command(["nginx", "-e", f"{place}/error.log", "-c", f"{place}/nginx.conf"])
    )
    stack.callback(server.wait)
    stack.callback(server.terminate)
    address = f"http://{lan.nodes[0].address}:{HTTP_PORT}"
    retry = ["--retry", "20", "--retry-connrefused", "--retry-delay", "1", "-o", os.devnull]
    ready = ["curl", "--silent", *retry, f"{address}/config.json"]
    subprocess.run(lan.nodes[1].command(ready), check=True)
    words = ["curl", "--silent", "--fail"]
    for path in sorted(folder.iterdir()):
        words += ["-o", os.devnull, f"{address}/{path.name}"]
    busy = _processor()
    began = time.perf_counter()
    clients = [subprocess.Popen(node.command(words)) for node in lan.nodes[1 : 1 + peers]]
    if any(client.wait() for client in clients):
        raise SystemExit("curl failed")
    seconds = time.perf_counter() - began
    total, used = (after - before for before, after in zip(busy, _processor(), strict=True))
    return seconds, round(100 * used / total, 1)


# ---- numbers


def _rate(text: str) -> float:
    """Bytes a second of a rate as tc writes it."""
    for suffix, factor in (("gbit", 1e9), ("mbit", 1e6), ("kbit", 1e3)):
        if text.endswith(suffix):
            return float(text.removesuffix(suffix)) * factor / 8
    raise SystemExit(f"{text!r} is no rate such as 200mbit")


def _seconds(text: str) -> float:
    return float(text.removesuffix("ms")) / 1000 if text.endswith("ms") else parse_duration(text)


def _share(text: str) -> float:
    return float(text.removesuffix("%")) / 100


def _processor() -> tuple[float, float]:
    """Ticks so far of all cores: in all, and not idle."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
    return sum(ticks), sum(ticks) - ticks[3] - ticks[4]


if __name__ == "__main__":
    main()
