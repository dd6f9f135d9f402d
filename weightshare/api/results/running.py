"""What a model answered."""

from __future__ import annotations

from dataclasses import dataclass

from weightshare.api.results.fetching import Fetched


@dataclass(frozen=True, slots=True)
class Ran:
    """What `run` answered.

    `load_trusted` counts bytes of the weights that a receipt alone stood for, and nobody hashed in this call;
    `repaired` those that were fetched anew first. `fetch` is what came with it, where the release was fetched for it.
    """

    release: str
    publisher: str
    publisher_name: str | None
    text: str
    device: str
    load_mode: str
    load_bytes: int
    load_seconds: float
    tokens: int
    tokens_per_second: float
    finish: str = "stop"
    repaired: int = 0
    load_trusted: int = 0
    warnings: tuple[str, ...] = ()
    fetch: Fetched | None = None

    def to_json(self) -> dict[str, object]:
        """The JSON result."""
        fetch: dict[str, object] = {} if self.fetch is None else {"fetch": self.fetch.to_json()}
        return {
            "release": self.release,
            "publisher": self.publisher,
            "publisher_name": self.publisher_name,
            "text": self.text,
            "device": self.device,
            "load": {
                "bytes": self.load_bytes,
                "seconds": round(self.load_seconds, 3),
                "verified": not self.load_trusted,
                "proven_bytes": self.load_bytes - self.load_trusted,
                "trusted_bytes": self.load_trusted,
                "mode": self.load_mode,
                "repaired_bytes": self.repaired,
            },
            "tokens": self.tokens,
            "tokens_per_second": round(self.tokens_per_second, 2),
            "finish": self.finish,
            "warnings": list(self.warnings),
            **fetch,
        }
