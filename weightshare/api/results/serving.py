"""A server that answers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Serving:
    """Where a release answers.

    Attributes:
        release: `ORG/MODEL@VERSION`.
        publisher: fingerprint of who signed it.
        model: what requests call it.
        engine: `transformers` or `vllm`.
        url: the address that OpenAI's clients take, with `/v1`.
        host: where it listens.
        port: the port.
        device: where it runs, as torch writes it; empty where the engine chooses.
        load_mode: `mapped`, `private` or `cuda`; empty where the engine loads.
        load_bytes: bytes proven and loaded; 0 where the engine loads.
        load_seconds: time that took.
        warnings: what the user should know.
    """

    release: str
    publisher: str
    model: str
    engine: str
    url: str
    host: str
    port: int
    device: str = ""
    load_mode: str = ""
    load_bytes: int = 0
    load_seconds: float = 0.0
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """The JSON line that says that it listens."""
        return {
            "event": "listening",
            "url": self.url,
            "host": self.host,
            "port": self.port,
            "model": self.model,
            "engine": self.engine,
            "release": self.release,
            "publisher": self.publisher,
            "device": self.device,
            "load": self._load(),
            "warnings": list(self.warnings),
        }

    def _load(self) -> dict[str, object]:
        if not self.load_mode:
            return {"verified": True}
        return {
            "bytes": self.load_bytes,
            "seconds": round(self.load_seconds, 3),
            "verified": True,
            "mode": self.load_mode,
        }
