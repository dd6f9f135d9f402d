"""Tensors asked for by name and slices of ranks, from a real seeder: only their pieces come, and load as they must."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors import safe_open
from safetensors.torch import save_file

from tests.builders_checkpoints import place
from tests.builders_load import flip
from tests.cli.helpers import environment, ok, result, weightshare
from tests.integration.releases import Published, assert_whole, fetch, publish
from tests.integration.running import Running, Seeder, seeding
from tests.integration.waiting import until
from weightshare.api.opening import open_release
from weightshare.content.home import Home
from weightshare.content.safetensors_header import read_header
from weightshare.content.store import STAGING
from weightshare.errors import CorruptError
from weightshare.units import KIB

PIECE = 64 * KIB
LAYERS, WIDTH, INNER = 3, 256, 640


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    """A tiny Llama in two shards, with its index and config."""
    home = tmp_path_factory.mktemp("maintainer")
    folder = home / "model"
    config = transformers.LlamaConfig(
        vocab_size=1000, hidden_size=WIDTH, intermediate_size=INNER, num_hidden_layers=LAYERS,
        num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=64, architectures=["LlamaForCausalLM"],
    )  # fmt: skip
    torch.manual_seed(5)
    model = transformers.LlamaForCausalLM(config)
    config.save_pretrained(folder)
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    first = {name: tensor for name, tensor in tensors.items() if not name.startswith("model.layers.2.")}
    second = {name: tensor for name, tensor in tensors.items() if name not in first}
    index: dict[str, str] = {}
    for number, shard in enumerate((first, second), 1):
        save_file(shard, folder / f"model-0000{number}-of-00002.safetensors")
        index |= dict.fromkeys(shard, f"model-0000{number}-of-00002.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    return publish(home, folder, "--piece-length", "64K")


@pytest.fixture(scope="module")
def seeder(published: Published) -> Iterator[Seeder]:
    with seeding(published.home) as found:
        yield found


def from_seeder(seeder: Seeder) -> tuple[str, ...]:
    return "--peer", seeder.peer


def tensors_of(user: Path, published: Published, **how: Any) -> dict[str, torch.Tensor]:
    release = open_release(
        "acme/m7b", home=Home(user / "weightshare"), trust=[str(published.facts["publisher"])]
    )
    return release.state_dict("cpu", **how)


def in_process(program: str, user: Path, words: list[Any]) -> dict[str, Any]:
    """Run a program of Python as a user would, in a process of its own, and read what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", program, json.dumps(words)],
        capture_output=True,
        env=environment(user),
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def as_published(published: Published, name: str) -> torch.Tensor:
    index = json.loads((published.folder / "model.safetensors.index.json").read_bytes())["weight_map"]
    with safe_open(published.folder / index[name], "pt") as file:
        found: torch.Tensor = file.get_tensor(name)
        return found


def shards_of(published: Published) -> list[Path]:
    return sorted(published.folder.glob("*.safetensors"))


def bytes_here(folder: Path, path: str, published: Published) -> int:
    """Bytes of the pieces of a staged shard that were written at all; they are what was published."""
    size = 0
    for staged in folder.glob(f"{STAGING}/*/*/{path}"):
        found, expected = staged.read_bytes(), (published.folder / path).read_bytes()
        for at in range(0, len(expected), PIECE):
            piece = found[at : at + PIECE]
            if piece.strip(b"\0"):
                assert piece == expected[at : at + PIECE]
                size += len(piece)
    return size


def test_only_the_pieces_of_the_tensors_asked_for_come_and_a_plain_fetch_brings_the_rest(
    published: Published, seeder: Seeder, tmp_path: Path
) -> None:
    got = fetch(tmp_path, published, "--tensors", "model.layers.2.mlp.*", *from_seeder(seeder))
    wanted = 3 * WIDTH * INNER * 4
    small = sum(path.stat().st_size for path in published.folder.glob("*.json"))
    assert got["complete"] is False
    # The tensors and the pieces on their borders, the piece with the header of their shard, and the small files.
    assert wanted + small < got["received"]["swarm"] <= wanted + small + 3 * PIECE
    assert list(got["parts"]) == [shards_of(published)[1].name]
    folder = Path(got["path"])
    assert {path: bytes_here(folder, path, published) for path in got["parts"]} == got["parts"]
    assert bytes_here(folder, shards_of(published)[0].name, published) == 0
    assert not list(folder.glob("*.safetensors"))
    assert (folder / "config.json").read_bytes() == (published.folder / "config.json").read_bytes()
    [listed] = result(tmp_path, "ls")["releases"]
    assert listed["complete"] is False

    found = tensors_of(tmp_path, published, names=["model.layers.2.mlp.*"])
    assert len(found) == 3
    for name, tensor in found.items():
        assert tensor.equal(as_published(published, name))
    with pytest.raises(CorruptError, match="missing"):
        tensors_of(tmp_path, published)
    del found, tensor

    checked = result(tmp_path, "verify", "acme/m7b", *published.trust)
    assert any("staged" in warning for warning in checked["warnings"])

    rest = fetch(tmp_path, published, *from_seeder(seeder))
    assert rest["complete"] is True
    assert rest["received"]["swarm"] + got["received"]["swarm"] <= published.size + PIECE
    assert_whole(folder, published)


def test_two_ranks_of_two_fetch_the_split_tensors_about_once_together(
    published: Published, seeder: Seeder, tmp_path: Path
) -> None:
    dims = {"*_proj.weight": 0}
    received, parts = [], []
    for rank in range(2):
        user = tmp_path / f"rank{rank}"
        user.mkdir()
        program = (
            "import json, sys, weightshare\nfrom pathlib import Path\n"
            "from weightshare.content.home import Home\n"
            "source, home, trust, host, port, rank, dims = json.loads(sys.argv[1])\n"
            "got = weightshare.fetch(source, home=Home(Path(home)), trust=[trust],\n"
            "    network='local', peers=[(host, port)], tensors=['*_proj.weight'], rank=rank, of=2, dims=dims)\n"
            "print(json.dumps(got.to_json()))\n"
        )
        host, _, port = seeder.peer.rpartition(":")
        words = [
            published.magnet,
            str(user / "weightshare"),
            str(published.facts["publisher"]),
            host,
            int(port),
        ]
        got = in_process(program, user, [*words, rank, dims])
        received.append(got["received"]["swarm"])
        parts.append(tensors_of(user, published, names=["*_proj.weight"], rank=rank, of=2, dims=dims))
    for name in parts[0]:
        whole = as_published(published, name)
        half = whole.shape[0] // 2
        assert parts[0][name].equal(whole[:half])
        assert parts[1][name].equal(whole[half:])
    split = sum(as_published(published, name).nbytes for name in parts[0])
    small = sum(path.stat().st_size for path in published.folder.glob("*.json"))
    borders = 2 * PIECE * len(parts[0])
    assert split <= sum(received) <= split + borders + 2 * (small + 2 * PIECE)
    # And that is little more than once: of the split tensors nearly every byte went to one of the two.
    assert sum(received) < 1.5 * split


def test_a_rank_fetches_what_the_plan_of_transformers_gives_it(
    published: Published, seeder: Seeder, tmp_path: Path
) -> None:
    got = fetch(tmp_path, published, "--rank", "1", "--of", "2", *from_seeder(seeder))
    assert got["received"]["swarm"] < published.size
    found = tensors_of(tmp_path, published, rank=1, of=2)
    down = as_published(published, "model.layers.1.mlp.down_proj.weight")
    assert found["model.layers.1.mlp.down_proj.weight"].equal(down[:, INNER // 2 :])
    up = as_published(published, "model.layers.1.mlp.up_proj.weight")
    assert found["model.layers.1.mlp.up_proj.weight"].equal(up[INNER // 2 :])


def test_a_second_fetch_of_other_tensors_goes_on_from_the_first(
    published: Published, seeder: Seeder, tmp_path: Path
) -> None:
    first = fetch(tmp_path, published, "--tensors", "model.layers.0.self_attn.*", *from_seeder(seeder))
    again = fetch(tmp_path, published, "--tensors", "model.layers.0.self_attn.*", *from_seeder(seeder))
    assert again["received"]["swarm"] == 0
    assert again["parts"] == first["parts"]
    other = fetch(tmp_path, published, "--include", "tensor:model.layers.0.*", *from_seeder(seeder))
    assert 0 < other["received"]["swarm"] < sum(other["parts"].values())
    found = tensors_of(tmp_path, published, names=["model.layers.0.*"])
    for name, tensor in found.items():
        assert tensor.equal(as_published(published, name))


def test_a_flipped_byte_in_the_staged_shard_matters_where_it_was_asked_for(
    published: Published, seeder: Seeder, tmp_path: Path
) -> None:
    got = fetch(tmp_path, published, "--tensors", "model.layers.1.mlp.up_proj.weight", *from_seeder(seeder))
    shard = shards_of(published)[0]
    [staged] = Path(got["path"]).glob(f"{STAGING}/*/*/{shard.name}")
    assert staged.stat().st_size == shard.stat().st_size
    tensors = {info.name: info for info in read_header(shard, "").tensors}
    flip(staged, tensors["lm_head.weight"].start + 5 * PIECE)  # a hole
    names = ["model.layers.1.mlp.up_proj.weight"]
    assert tensors_of(tmp_path, published, names=names)[names[0]].equal(as_published(published, names[0]))
    at = tensors[names[0]].start + PIECE
    flip(staged, at)
    with pytest.raises(CorruptError) as caught:
        tensors_of(tmp_path, published, names=names)
    assert caught.value.facts["pieces"] == [at // PIECE]
    # And the same command fetches just that piece anew.
    again = fetch(tmp_path, published, "--tensors", names[0], *from_seeder(seeder))
    assert again["received"]["swarm"] <= 2 * PIECE
    assert tensors_of(tmp_path, published, names=names)[names[0]].equal(as_published(published, names[0]))


def test_a_name_that_no_tensor_has_ends_the_fetch_with_a_name_like_it(
    published: Published, seeder: Seeder, tmp_path: Path
) -> None:
    tmp_path.mkdir(exist_ok=True)
    words = ["--tensors", "model.layers.0.mlp.up_porj.weight", *from_seeder(seeder), *published.trust]
    done = weightshare(tmp_path, "fetch", published.magnet, *words)
    assert done.returncode == 2
    assert b"Did you mean model.layers.0.mlp.up_proj.weight" in done.stderr
    for option in (["--order", "model"], ["--seed-for", "1s"], ["--dry-run"]):
        done = weightshare(tmp_path, "fetch", published.magnet, *words, *option)
        assert done.returncode == 2


def test_a_release_without_shards_has_no_tensors_to_ask_for(tmp_path: Path) -> None:
    maintainer = tmp_path / "maintainer"
    maintainer.mkdir()
    other = publish(maintainer, place(maintainer / "notes", {"notes.txt": b"none here"}), name="acme/notes")
    with seeding(maintainer) as found:
        words = [other.magnet, *other.trust, "--tensors", "a*", *from_seeder(found)]
        done = weightshare(tmp_path, "fetch", *words)
    assert done.returncode == 7
    assert b"no safetensors file at the top" in done.stderr


def test_a_fetch_that_is_killed_goes_on_with_what_it_had(
    published: Published, seeder: Seeder, tmp_path: Path
) -> None:
    words = ["fetch", published.magnet, *published.trust, "--tensors", "model.layers.*", *from_seeder(seeder)]
    with Running(tmp_path, *words, "--json", "--max-down", "1500K") as fetching:
        staging = tmp_path / "weightshare" / "models"
        until(lambda: held(staging, published) > 30 * PIECE, "some pieces of the shards")
        fetching.kill()
    before = held(staging, published)
    got = result(tmp_path, *words)
    # What was on its way when it was killed may come again.
    assert got["received"]["swarm"] <= got["bytes"] - before + 10 * PIECE
    # All tensors of the second shard were asked for, so it is whole and has its name.
    assert list(got["parts"]) == [shards_of(published)[0].name]
    assert [path.name for path in Path(got["path"]).glob("*.safetensors")] == [shards_of(published)[1].name]
    found = tensors_of(tmp_path, published, names=["model.layers.*"])
    assert all(tensor.equal(as_published(published, name)) for name, tensor in found.items())


def held(folder: Path, published: Published) -> int:
    """Bytes of whole right pieces of the shards that are staged anywhere below a folder."""
    size = 0
    for shard in shards_of(published):
        expected = shard.read_bytes()
        for staged in folder.rglob(shard.name):
            found = staged.read_bytes()
            same = (
                found[at : at + PIECE] == expected[at : at + PIECE] for at in range(0, len(expected), PIECE)
            )
            size += PIECE * sum(same)
    return size


def test_the_words_on_the_terminal(published: Published, seeder: Seeder, tmp_path: Path) -> None:
    words = [published.magnet, *published.trust, "--tensors", "model.norm.weight", *from_seeder(seeder)]
    done = weightshare(tmp_path, "fetch", *words)
    assert done.returncode == 0
    assert b"of 1 shard, staged; a plain fetch brings the rest" in done.stderr
    assert "acme/m7b" in ok(tmp_path, "ls")
