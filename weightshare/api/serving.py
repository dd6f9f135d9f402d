"""`serve`: a release behind an OpenAI-compatible endpoint, from a server that exists, fed with proven weights."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Unpack

from weightshare.api.opening import Loading, Release, open_release
from weightshare.api.results.serving import Serving
from weightshare.content.home import Home
from weightshare.errors import UsageError
from weightshare.progress import Observer, ignore

Engine = Literal["auto", "transformers", "vllm"]
PORT = 8000
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
"""What keeps Hugging Face's libraries from asking the network, if it is set before they are imported."""

_DTYPES = {"auto": "auto", "bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
"""Our names of what to compute in, and vLLM's."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where and how to answer.

    Attributes:
        host: an address or name of this machine.
        port: 0 takes any free one.
        name: what requests call the model; the release's own name by default.
        api_key: what requests must carry as `Authorization: Bearer …`; None lets everybody in.
        words: more options for vLLM's server.
        verbose: let the server's log through to stderr.
    """

    host: str = "127.0.0.1"
    port: int = PORT
    name: str | None = None
    api_key: str | None = field(default=None, repr=False)
    words: tuple[str, ...] = ()
    verbose: bool = False


def serve(
    release: str,
    endpoint: Endpoint,
    *,
    home: Home | None = None,
    trust: Sequence[str] = (),
    engine: Engine = "auto",
    on_listening: Callable[[Serving], None],
    stop: threading.Event,
    observe: Observer = ignore,
    **how: Unpack[Loading],
) -> None:
    """Load a release, every byte proven, and answer requests until `stop` is set.

    Nothing listens before the weights are proven, and nothing is downloaded at any time.

    Args:
        release: a name, an info-hash or a folder.
        endpoint: where and how to answer.
        home: where the store is.
        trust: fingerprints to pin if the publisher is unknown.
        engine: whose server; `auto` is vLLM's where that is installed and has a GPU, else transformers'.
        on_listening: told where, once requests are answered.
        stop: set it to end.
        observe: told how the loading goes.
        **how: how it is loaded; see `Loading`.

    Raises:
        ReleaseNotFoundError: it is not here.
        CorruptError: bytes are not what was signed, or mapped files changed while it served.
        ListenError: the port is taken.
        LoadError: the model cannot be used here, or a package is missing.
    """
    from weightshare.run import server_loop

    os.environ.update(OFFLINE)
    if engine == "auto":
        engine = _engine()
    if engine == "vllm":
        _check_for_vllm(how)
    if engine != "vllm" and endpoint.words:
        raise UsageError(
            f"{endpoint.words[0]!r} is for vLLM's server.", hint="Add `--engine vllm`, or leave it out."
        )
    taken = server_loop.bound_socket(endpoint.host, endpoint.port)
    try:
        opened = open_release(release, home=home, trust=trust)
        if engine == "vllm":
            _with_vllm(opened, endpoint, taken, home or Home.default(), how, on_listening, stop)
        else:
            _with_transformers(opened, endpoint, taken, how, on_listening, stop, observe)
    finally:
        taken.close()


def _with_transformers(
    opened: Release,
    endpoint: Endpoint,
    taken: socket.socket,
    how: Loading,
    on_listening: Callable[[Serving], None],
    stop: threading.Event,
    observe: Observer,
) -> None:
    from weightshare.run import server_loop
    from weightshare.run.quiet import quiet
    from weightshare.run.server import application
    from weightshare.run.server_guard import guarded, is_loopback
    from weightshare.run.server_parts import parts

    parts()  # before the weights: what is missing is said at once
    name = endpoint.name or opened.verified.release
    with opened.runner(observe=observe, **how) as runner, quiet():
        app, service = application(runner, name, opened.verified.manifest.model.released)
        app = guarded(app, local=is_loopback(endpoint.host), api_key=endpoint.api_key)
        facts = runner.state
        where = _serving(
            opened,
            endpoint,
            taken,
            "transformers",
            device=facts.device,
            load_mode=facts.mode,
            load_bytes=facts.bytes,
            load_seconds=facts.seconds,
            warnings=(*opened.verified.warnings, *runner.notes),
        )
        server_loop.serve(
            app,
            taken,
            on_listening=lambda: on_listening(where),
            wait=stop.wait,
            check=service.check,
            verbose=endpoint.verbose,
        )


def _with_vllm(
    opened: Release,
    endpoint: Endpoint,
    taken: socket.socket,
    home: Home,
    how: Loading,
    on_listening: Callable[[Serving], None],
    stop: threading.Event,
) -> None:
    from weightshare.run import vllm_server
    from weightshare.run.small_files import proven_folder, read_config

    vllm_server.require()
    verified = opened.verified
    where = _serving(opened, endpoint, taken, "vllm", warnings=verified.warnings)
    with proven_folder(verified.manifest, opened.path, opened.located.locations) as folder:
        read_config(folder, verified.release)
        taken.close()  # vLLM binds it again by itself
        vllm_server.serve(
            folder,
            name=where.model,
            host=endpoint.host,
            port=where.port,
            extra={
                "release": str(opened.path),
                "home": str(home.path),
                "manifest": hashlib.sha256(verified.envelope).hexdigest(),
                "private": how.get("private", False),
            },
            dtype=_DTYPES[how.get("dtype", "auto")],
            api_key=endpoint.api_key,
            words=endpoint.words,
            on_listening=lambda: on_listening(where),
            wait=stop.wait,
            verbose=endpoint.verbose,
        )


def _serving(
    opened: Release,
    endpoint: Endpoint,
    taken: socket.socket,
    engine: str,
    *,
    device: str = "",
    load_mode: str = "",
    load_bytes: int = 0,
    load_seconds: float = 0.0,
    warnings: tuple[str, ...] = (),
) -> Serving:
    port = int(taken.getsockname()[1])
    shown = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    return Serving(
        release=opened.verified.release,
        publisher=opened.verified.fingerprint,
        model=endpoint.name or opened.verified.release,
        engine=engine,
        url=f"http://{shown}:{port}/v1",
        host=endpoint.host,
        port=port,
        device=device,
        load_mode=load_mode,
        load_bytes=load_bytes,
        load_seconds=load_seconds,
        warnings=warnings,
    )


def _check_for_vllm(how: Loading) -> None:
    if how.get("device", "auto") != "auto" or how.get("device_map"):
        raise UsageError(
            "vLLM runs on the devices that it was built for.",
            hint="Leave --device and --device-map out; vLLM's own options come after `--`.",
        )
    if how.get("trust_receipt"):
        raise UsageError("vLLM's loader proves every byte.", hint="Leave --trust-receipt out.")


def _engine() -> Literal["transformers", "vllm"]:
    """The one that `auto` stands for: vLLM where it is installed and has a GPU to run on."""
    from weightshare.run import vllm_server

    if not vllm_server.installed():
        return "transformers"
    from weightshare.load.loader import choose

    return "vllm" if choose("auto", "auto")[0].startswith("cuda") else "transformers"
