"""The README says what the program says, and points at files that exist."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.helpers import ROOT

CHECK = ROOT / "docs" / "check_readme.py"
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]


def test_help_blocks_are_up_to_date() -> None:
    done = subprocess.run([sys.executable, str(CHECK)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_stale_block_and_a_missing_one_are_found() -> None:
    check = runpy.run_path(str(CHECK))
    text = (ROOT / "README.md").read_text("utf-8")
    assert check["refreshed"](text) == text
    stale = text.replace("-q, --quiet", "-q, --silent", 1)
    assert check["refreshed"](stale) != stale
    assert check["missing"](text.replace("<!-- help: weightshare ls -->", "")) == ["ls"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text("utf-8")):
        if not target.startswith(("http:", "https:")):
            assert (page.parent / target).exists(), target


def test_exit_codes_are_those_of_the_errors() -> None:
    from weightshare import errors

    listed = {
        int(code) for code in re.findall(r"^\| (\d+) \|", (ROOT / "README.md").read_text("utf-8"), re.M)
    }
    known = {
        value.exit_code
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, errors.WeightshareError)
    }
    assert listed == known | {0, 130, 141}
