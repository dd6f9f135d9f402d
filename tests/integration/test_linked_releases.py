"""`weightshare.open` and `from_pretrained` on a link: in Python, in a process of their own, from a real seeder."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.builders_talkers import talker
from tests.cli.helpers import environment
from tests.integration.releases import Published, assert_whole, publish
from tests.integration.running import Seeder, seeding

_BEGIN = """
import json, sys
from pathlib import Path
import torch
import weightshare
from safetensors.torch import load_file
from weightshare.content.home import Home

link, folder, user, key, port = json.loads(sys.argv[1])
how = dict(home=Home(Path(user) / "weightshare"), trust=[key], peers=[("127.0.0.1", port)], network="local")
true = {name: each for path in Path(folder).glob("*.safetensors") for name, each in load_file(path).items()}
def right(tensors):
    return all(torch.equal(tensor, true[name]) for name, tensor in tensors.items())
"""


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    home = tmp_path_factory.mktemp("maintainer")
    return publish(home, talker(home / "model"), "--piece-length", "16K")


@pytest.fixture(scope="module")
def seeder(published: Published) -> Iterator[Seeder]:
    with seeding(published.home) as found:
        yield found


def said(program: str, published: Published, seeder: Seeder, user: Path) -> dict[str, Any]:
    """Run a user's program and read the JSON that it prints."""
    words = [
        published.magnet,
        str(published.folder),
        str(user),
        published.facts["publisher"],
        seeder.port,
    ]
    done = subprocess.run(
        [sys.executable, "-c", _BEGIN + program, json.dumps(words)],
        capture_output=True,
        env=environment(user),
        timeout=120,
    )
    assert done.returncode == 0, done.stderr.decode()
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_its_tensors_are_fetched_when_they_are_asked_for(
    published: Published, seeder: Seeder, tmp_path: Path
) -> None:
    program = """
release = weightshare.open(link, **how)
before = release.here
tensors = release.state_dict(device="cpu")
again = release.state_dict(device="cpu")
facts = {"all": tensors.keys() == true.keys(), "right": right(tensors), "again": right(again)}
print(json.dumps({**facts, "before": before, "after": release.here, "path": str(release.path)}))
"""
    found = said(program, published, seeder, tmp_path)
    path = found.pop("path")
    assert found == {"all": True, "right": True, "again": True, "before": False, "after": True}
    assert_whole(Path(path), published)


def test_of_tensors_by_name_only_their_pieces_come(
    published: Published, seeder: Seeder, tmp_path: Path
) -> None:
    program = """
release = weightshare.open(link, **how)
some = release.state_dict(device="cpu", names=["model.norm.weight"])
facts = {"names": sorted(some), "right": right(some), "here": release.here}
everything = release.state_dict(device="cpu")
print(json.dumps({**facts, "all": right(everything) and everything.keys() == true.keys(), "then": release.here}))
"""
    assert said(program, published, seeder, tmp_path) == {
        "names": ["model.norm.weight"],
        "right": True,
        "here": False,
        "all": True,
        "then": True,
    }


def test_a_model_by_its_link_answers(published: Published, seeder: Seeder, tmp_path: Path) -> None:
    program = """
from transformers import AutoModelForCausalLM
model, tokenizer = weightshare.from_pretrained(link, device="cpu", **how)
own = AutoModelForCausalLM.from_pretrained(folder)
tokens = torch.tensor([[3, 4, 5]])
with torch.inference_mode():
    same = torch.equal(model(tokens).logits, own(tokens).logits)
print(json.dumps({"same": same, "word": tokenizer.decode([7])}))
"""
    assert said(program, published, seeder, tmp_path) == {"same": True, "word": "w7"}
