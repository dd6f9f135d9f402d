"""`fetch --run` and `run LINK`: what a model says is what it says when it is fetched first and run then."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.helpers import result, weightshare
from tests.fixtures_models import linked
from tests.integration.releases import Published, assert_whole, fetch, publish
from tests.integration.running import Running, seeding
from tests.integration.test_run_tiny import checkpoint, words
from weightshare.units import MIB

PROMPT = "w3 w4 w5"
SHORT = ("--max-new-tokens", "12")


@pytest.fixture(scope="module", params=["llama", "mixtral"])
def published(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Published:
    """A tiny random model; transformers stacks a Mixtral's experts, so that it is built a second time."""
    home = tmp_path_factory.mktemp("maintainer")
    folder = checkpoint(home / "model", request.param)
    words(folder)
    return publish(home, folder, "--piece-length", "16K")


def test_the_answer_is_that_of_fetching_first(published: Published, tmp_path: Path) -> None:
    ask = ("--run", "--prompt", PROMPT, *SHORT)
    for name in ("first", "streamed", "linked"):
        (tmp_path / name).mkdir()
    with seeding(published.home) as seeder:
        found = fetch(tmp_path / "first", published, "--peer", seeder.peer)
        plain = result(tmp_path / "first", "run", found["path"], PROMPT, *SHORT)
        streamed = fetch(tmp_path / "streamed", published, "out", "--peer", seeder.peer, *ask)
        linked = weightshare(
            tmp_path / "linked",
            "run",
            published.magnet,
            PROMPT,
            *SHORT,
            *published.trust,
            "--peer",
            seeder.peer,
        )
    assert plain["text"] == streamed["text"]
    assert streamed["tokens"] == plain["tokens"] > 0
    assert streamed["load"]["bytes"] == plain["load"]["bytes"]
    assert (streamed["load"]["mode"], streamed["load"]["verified"]) == ("private", True)
    assert streamed["fetch"]["complete"]
    assert streamed["fetch"]["received"]["swarm"] == published.size
    assert "fetch" not in plain
    assert_whole(tmp_path / "streamed" / "out", published)
    assert linked.returncode == 0, linked.stderr.decode()
    assert linked.stdout.decode() == plain["text"] + "\n"


def test_a_release_that_is_here_is_run_from_there(published: Published, tmp_path: Path) -> None:
    with seeding(published.home) as seeder:
        found = fetch(tmp_path / "u", published, "--peer", seeder.peer)
    link = result(tmp_path / "u", "run", published.magnet, PROMPT, *SHORT, *published.trust)
    assert link["text"] == result(tmp_path / "u", "run", found["path"], PROMPT, *SHORT)["text"]
    assert link["load"]["mode"] == "mapped"
    assert link["fetch"]["received"]["swarm"] == 0


def test_what_cannot_be_run_is_said_before_it_is_fetched(tmp_path: Path) -> None:
    home = tmp_path / "maintainer"
    home.mkdir()
    folder = checkpoint(home / "model", "llama")  # without a tokenizer
    published = publish(home, folder, "--piece-length", "16K")
    with seeding(published.home) as seeder:
        error = fetch(tmp_path / "u", published, "--peer", seeder.peer, "--run", "--prompt", PROMPT, status=7)
        assert "tokenizer" in error["message"]
        again = fetch(tmp_path / "u", published, "--peer", seeder.peer)
    assert again["received"]["swarm"] == published.size


@pytest.mark.parametrize("words", [("--prompt", "Hello"), ("--temperature", "0.5"), ("--run", "--dry-run")])
def test_options_that_do_not_go_together(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = weightshare(tmp_path, "fetch", "magnet:?xt=urn:btmh:1220" + 64 * "a", *words)
    assert done.returncode == 2
    assert "--run" in done.stderr.decode()


@pytest.mark.model
def test_smollm2_answers_as_it_does_when_it_is_fetched_first(smollm2: Path, tmp_path: Path) -> None:
    home = tmp_path / "maintainer"
    home.mkdir()
    published = publish(home, linked(smollm2, home / "model"), name="acme/smollm2")
    question = "What is the capital of France?"
    with seeding(published.home) as seeder:
        (tmp_path / "u").mkdir()
        with Running(
            tmp_path / "u",
            *("fetch", published.magnet, *published.trust, "--peer", seeder.peer, "--json"),
            *("--run", "--prompt", question, "--max-new-tokens", "16", "--max-down", str(64 * MIB)),
        ) as first:
            streamed = first.result(within=150)
    assert "Paris" in streamed["text"]
    plain = result(tmp_path / "u", "run", streamed["fetch"]["path"], question, "--max-new-tokens", "16")
    assert streamed["text"] == plain["text"]
