"""An answer on stdout, as it comes."""

from __future__ import annotations

from weightshare_cli import output, progress


class Writer:
    """Puts an answer on stdout as it comes, what is not printable in it as escapes."""

    def __init__(self, observe: progress.Reporter) -> None:
        self._observe = observe
        self._wrote = ""

    def write(self, text: str) -> None:
        """Write a piece of the answer."""
        if not self._wrote:
            self._observe.stop()
        self._wrote += text
        output.put(output.clean(text, keep="\n\t"), end=False)

    def end(self, text: str) -> None:
        """End the line; write the whole answer if none of it came in pieces."""
        if not self._wrote:
            self.write(text)
        if not self._wrote.endswith("\n"):
            output.put("")
