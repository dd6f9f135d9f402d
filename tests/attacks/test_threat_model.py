"""The page of threats is no promise without proof: every attack it calls stopped names a test that is there."""

from __future__ import annotations

import ast
import re

import pytest

from tests.cli.helpers import ROOT

PAGE = (ROOT / "docs" / "threat-model.md").read_text("utf-8")
STOPPED = PAGE.partition("## Stopped")[2].partition("\n## ")[0]
ROWS = [line for line in STOPPED.splitlines() if line.startswith("| ")][1:]


def test_the_table_is_read() -> None:
    assert len(ROWS) > 30


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split(" | ")[0].strip("| ")[:60])
def test_a_stopped_attack_names_its_test(row: str) -> None:
    found = re.fullmatch(r"\| .+ \| .+ \| `([\w/]+\.py)` `(test_\w+)` \|", row)
    assert found, row
    tree = ast.parse((ROOT / "tests" / found[1]).read_text("utf-8"))
    assert found[2] in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
