"""Hold README's help blocks against what the program prints; `--write` brings them up to date.

A block stands between `<!-- help: weightshare fetch -->` and `<!-- /help -->`. Every command must have one.
"""

from __future__ import annotations

import difflib
import os
import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).resolve().parent.parent / "README.md"
BLOCK = re.compile(r"(<!-- help: weightshare(?P<words>[a-z ]*) -->\n).*?(<!-- /help -->)", re.DOTALL)


def printed(words: list[str]) -> str:
    """The help page of one command, 80 columns wide."""
    search = [str(README.parent), str(README.parent / "cli"), os.environ.get("PYTHONPATH", "")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WEIGHTSHARE_")}
    done = subprocess.run(  # noqa: S603  our own program
        [sys.executable, "-m", "weightshare_cli", *words, "--help"],
        capture_output=True,
        check=True,
        encoding="utf-8",
        env=environment
        | {"COLUMNS": "80", "PYTHONUTF8": "1", "PYTHONPATH": os.pathsep.join(filter(None, search))},
    )
    return done.stdout


def refreshed(text: str) -> str:
    """The README with every block as the program prints it."""

    def block(match: re.Match[str]) -> str:
        return f"{match[1]}```text\n{printed(match['words'].split())}```\n{match[3]}"

    return BLOCK.sub(block, text)


def missing(text: str) -> list[str]:
    """Commands that have no block."""
    from weightshare_cli.app import SECTIONS

    there = {match["words"].strip() for match in BLOCK.finditer(text)}
    return [name for verbs in SECTIONS.values() for name in verbs if name not in there]


def main() -> int:
    """Check, or with `--write` refresh, and return the exit status."""
    text = README.read_text("utf-8")
    fresh = refreshed(text)
    if "--write" in sys.argv[1:]:
        README.write_text(fresh, "utf-8")
        text = fresh
    for name in (absent := missing(text)):
        sys.stderr.write(f"README.md has no help block for `weightshare {name}`.\n")
    if text != fresh:
        sys.stderr.writelines(
            difflib.unified_diff(text.splitlines(True), fresh.splitlines(True), "README.md", "--help", n=1)
        )
        sys.stderr.write("README.md is behind --help; `make fix` refreshes it.\n")
    return 1 if absent or text != fresh else 0


if __name__ == "__main__":
    sys.exit(main())
