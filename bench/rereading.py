"""How fast bytes that are on the disk are read and hashed again, and what the processor can do at all."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.harness import cores
from bench.large_release import Large, build, fetched_at, publish_at
from bench.memory import COMMAND, Peak, _environment
from tests.builders_releases import signer
from weightshare.content.home import Home
from weightshare.content.journal import Journal
from weightshare.content.landing import Landing
from weightshare.content.prover import Prover
from weightshare.content.store import STAGING
from weightshare.units import BLOCK, GIB, MIB


def reread(work: Path, release: Large, seconds: float) -> dict[str, Any]:
    """Bytes a second at which recalled pieces are proven, for some seconds."""
    out = work / "out"
    state = fetched_at(release, Home(work / "home"), out, (), stopped=True)
    staging = next(out.glob(f"{STAGING}/*/{release.info.name}"))
    spans = [span for span in release.pieces.spans if span.count > 1]
    peak = Peak()
    with (
        Journal(state / "pieces") as journal,
        Prover(release.info.piece_length) as prover,
        Landing(release.pieces, spans, staging, prover, journal) as landing,
    ):
        began = time.perf_counter()
        landing.recall()
        recalled = time.perf_counter() - began
        while landing.proven() == 0:
            landing.refused()
        began, before, seen = time.perf_counter(), landing.proven(), 0.0
        while (passed := time.perf_counter() - began) < seconds and not landing.settled():
            landing.refused()
            if passed - seen > 1:
                seen = passed
                peak.look(os.getpid())
            time.sleep(0.01)
        rate = (landing.proven() - before) / (time.perf_counter() - began)
    return {"bytes_per_second": rate, "recall_seconds": recalled, "peak_tree_bytes": peak.tree}


def verify(work: Path, seconds: float, file_size: int, piece_length: int) -> dict[str, Any]:
    """Bytes a second of our `verify` on as much as takes it some seconds, start of the interpreter and all."""
    count = max(cores(), int(seconds * cores() * 0.7e9 / file_size))
    release = build(signer(), count=count, size=file_size, piece_length=piece_length, digests=True)
    publish_at(release, Home(work / "home"), work / "model")
    peak = Peak()
    words = (
        "verify",
        str(work / "model"),
        "--trust",
        release.key.public_key.fingerprint,
        "--json",
        "--quiet",
    )
    began = time.perf_counter()
    with subprocess.Popen(
        [*COMMAND, *words], stdout=subprocess.PIPE, env=_environment(work / "home"), text=True
    ) as process:
        while process.poll() is None:
            peak.look(process.pid)
            time.sleep(0.2)
        answer = process.stdout.read() if process.stdout else ""
    if process.returncode:
        raise SystemExit(f"verify ended with {process.returncode}: {answer}")
    took = time.perf_counter() - began
    size = release.manifest.size
    return {
        "bytes_per_second": size / took,
        "bytes": size,
        "seconds": took,
        "peak_tree_bytes": peak.tree,
    }


def sha_bound(seconds: float) -> float:
    """Bytes a second of SHA-256 over 16 KiB leaves by as many processes as there are cores, from memory."""
    with multiprocessing.get_context("fork").Pool(cores()) as pool:
        return sum(pool.map(_hash_for, [seconds] * cores(), chunksize=1))


def _hash_for(seconds: float) -> float:
    data = memoryview(bytes(512 * 1024))
    leaves = [data[at : at + BLOCK] for at in range(0, len(data), BLOCK)]
    done, began = 0, time.perf_counter()
    while (passed := time.perf_counter() - began) < seconds:
        for leaf in leaves:
            hashlib.sha256(leaf).digest()
        done += len(data)
    return done / passed


def engine_state() -> float:
    """Bytes a GiB of libtorrent's own resume data for a v2 file."""
    import libtorrent as lt

    size = 256 * MIB
    release = build(signer(), count=1, size=size, piece_length=4 * MIB)
    with tempfile.TemporaryDirectory(prefix="weightshare-bench-") as folder:
        home = Path(folder)
        publish_at(release, Home(home / "home"), home / "large")
        session = lt.session({"listen_interfaces": "", "alert_mask": lt.alert_category.all})
        params = lt.load_torrent_buffer((next(home.glob("home/releases/*/release.torrent"))).read_bytes())
        params.save_path = folder
        params.flags &= ~(lt.torrent_flags.paused | lt.torrent_flags.auto_managed)
        handle = session.add_torrent(params)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            session.wait_for_alert(100)
            for alert in session.pop_alerts():
                if isinstance(alert, lt.torrent_checked_alert):
                    handle.save_resume_data()
                elif isinstance(alert, lt.save_resume_data_alert):
                    return len(lt.write_resume_data_buf(alert.params)) * GIB / size
    raise SystemExit("libtorrent gave no resume data")
