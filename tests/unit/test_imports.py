"""What an import costs: nothing heavy before a verb is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "libtorrent", "cryptography", "rich", "huggingface_hub", "safetensors")


@pytest.mark.parametrize("statement", ["import weightshare", "import weightshare_cli.main"])
def test_nothing_heavy_is_imported(statement: str) -> None:
    code = f"import sys; {statement}; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


def test_fetching_does_not_need_torch() -> None:
    code = "import sys, weightshare; weightshare.fetch, weightshare.publish, weightshare.verify, weightshare.seed; "
    code += "print('torch' in sys.modules, 'libtorrent' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False", "True"]


def test_every_public_name_is_there() -> None:
    import weightshare

    for name in weightshare.__all__:
        assert getattr(weightshare, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'upload'"):
        weightshare.upload  # noqa: B018
