"""A server of `weightshare serve` for the time of a test, and requests as a client sends them."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.integration.running import Running


class Asked:
    """A running server, and what it answers."""

    def __init__(self, running: Running, within: float) -> None:
        self.running = running
        self.listening = running.event(within=within)
        self.url = str(self.listening["url"])
        self.model = str(self.listening["model"])
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def send(self, path: str, body: object = None, headers: dict[str, str] | None = None) -> tuple[int, str]:
        """Send a request; a body makes it a POST. Returns status and text."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.url.removesuffix("/v1") + path,
            data,
            {"Content-Type": "application/json", **(headers or {})},
        )
        try:
            with self._opener.open(request, timeout=120) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def chat(self, words: str, **more: Any) -> dict[str, Any]:
        """The answer to one message, the likeliest one unless told otherwise."""
        body = {"model": self.model, "messages": [{"role": "user", "content": words}], "temperature": 0}
        status, text = self.send("/v1/chat/completions", {**body, **more})
        assert status == 200, text
        found: dict[str, Any] = json.loads(text)
        return found

    def streamed(self, words: str, **more: Any) -> list[str]:
        """The pieces of such an answer, as they come."""
        body = {"model": self.model, "messages": [{"role": "user", "content": words}], "temperature": 0}
        status, text = self.send("/v1/chat/completions", {**body, "stream": True, **more})
        assert status == 200, text
        events = [line.removeprefix("data: ") for line in text.splitlines() if line]
        assert events[-1] == "[DONE]"
        deltas = [json.loads(event)["choices"][0]["delta"] for event in events[:-1] if "choices" in event]
        return [delta["content"] for delta in deltas if delta.get("content")]


def text_of(answer: dict[str, Any]) -> str:
    """What an answer of the chat says."""
    return str(answer["choices"][0]["message"]["content"])


@contextmanager
def serving(
    home: Path, *words: str, more: dict[str, str] | None = None, within: float = 60
) -> Iterator[Asked]:
    """A server on a free port, answering."""
    with Running(home, "serve", "--port", "0", "--json", *words, more=more) as running:
        yield Asked(running, within)
