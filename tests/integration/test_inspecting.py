"""What `inspect` shows of a release before it is fetched: code that it names, its chat template, what it lacks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.builders_checkpoints import place, tiny
from tests.builders_load import flip
from tests.cli.helpers import ok, result, weightshare
from tests.integration.releases import Published, publish
from tests.integration.running import seeding
from weightshare.api.fetching import fetch
from weightshare.api.forecasting import check_runnable
from weightshare.content.home import Home
from weightshare.errors import UnsupportedModelError
from weightshare.manifest.model import MANIFEST_NAME
from weightshare.trust.gate import VerifiedManifest
from weightshare.units import KIB

TEMPLATE = "{% for m in messages %}\n{{ m.content }}\x1b[2J\u202e\n{% endfor %}\n" + "{# long #}\n" * 40
CONFIG = {
    "architectures": ["NewForCausalLM"],
    "model_type": "new",
    "auto_map": {"AutoModelForCausalLM": "modeling_new.NewForCausalLM"},
}


def checkpoint(ran: Path) -> dict[str, bytes]:
    """One that brings code of its own, and a template that would drive a terminal."""
    return {
        **tiny(7),
        "config.json": json.dumps(CONFIG).encode(),
        "modeling_new.py": f"open({str(ran)!r}, 'w')".encode(),
        "tokenizer_config.json": json.dumps({"chat_template": TEMPLATE}).encode(),
    }


@pytest.fixture
def published(tmp_path: Path) -> Published:
    return publish(tmp_path / "home", place(tmp_path / "model", checkpoint(tmp_path / "ran")))


def assert_shown(seen: dict[str, object]) -> None:
    assert seen["model"] == {
        "architectures": ["NewForCausalLM"],
        "model_type": "new",
        "auto_map": [
            {
                "what": "AutoModelForCausalLM",
                "code": "modeling_new.NewForCausalLM",
                "file": "config.json",
            }
        ],
        "kernel": None,
        "read": ["config.json", "tokenizer_config.json"],
    }
    assert seen["code"] == ["modeling_new.py"]
    assert seen["chat_templates"] == [{"name": "default", "file": "tokenizer_config.json", "text": TEMPLATE}]
    assert "never run" in json.dumps(seen["warnings"])


def test_a_link_is_told_of_before_any_weight_is_here(published: Published, tmp_path: Path) -> None:
    user = tmp_path / "user"
    user.mkdir()
    with seeding(published.home) as seeder:
        seen = result(user, "inspect", published.magnet, "--peer", seeder.peer)
        given = seeder.stop()["uploaded"]
    assert_shown(seen)
    assert given <= (published.folder / MANIFEST_NAME).stat().st_size + 2 * 16 * KIB + 16 * KIB
    assert not [path for path in (user / "weightshare").rglob("*") if path.is_file()], "nothing of it stays"
    assert not (tmp_path / "ran").exists()


def test_what_is_here_is_told_of_from_proven_bytes(published: Published) -> None:
    assert_shown(result(published.home, "inspect", "acme/m7b"))
    path = published.folder / "config.json"
    flip(path, 3)
    seen = result(published.home, "inspect", "acme/m7b")
    assert seen["model"]["architectures"] == []
    assert seen["model"]["read"] == ["tokenizer_config.json"]
    assert any("config.json: SHA-256 is" in warning for warning in seen["warnings"])
    path.unlink()
    assert any(
        "config.json" in warning for warning in result(published.home, "inspect", "acme/m7b")["warnings"]
    )


def test_a_reader_sees_code_marked_and_a_template_behind_a_bar(published: Published) -> None:
    done = weightshare(published.home, "inspect", "acme/m7b")
    shown = done.stdout.decode()
    assert done.returncode == 0
    assert "modeling_new.py  [code, never run]" in shown
    assert "NewForCausalLM, type new" in shown
    assert "code, never run" in shown
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "  | {{ m.content }}\\x1b[2J\\u202e\n" in shown
    assert "--chat-template" in shown
    assert shown.count("{# long #}") < 20
    whole = ok(published.home, "inspect", "acme/m7b", "--chat-template")
    assert whole.count("{# long #}") == 40
    assert "\x1b" not in whole
    assert all(line.startswith("  ") for line in whole.splitlines())


def test_what_it_lacks_to_be_run_is_said(published: Published) -> None:
    seen = result(published.home, "inspect", "acme/m7b")
    assert seen["layout"]["kind"] == "huggingface"
    assert seen["layout"]["lacks"] == ["a tokenizer, to read prompts with"]
    assert "it lacks a tokenizer" in seen["hindrances"][0]
    shown = ok(published.home, "inspect", "acme/m7b")
    assert "to run it: It is a transformers model; to be run it lacks a tokenizer" in shown


def test_fetch_says_it_before_the_first_weight_byte_and_a_refusal_keeps_nothing(
    published: Published, tmp_path: Path
) -> None:
    user = tmp_path / "user"
    user.mkdir()
    with seeding(published.home) as seeder:
        host, port = seeder.peer.rsplit(":", 1)

        def refuse(verified: VerifiedManifest) -> None:
            check_runnable(verified.release, [entry.path for entry in verified.manifest.files])

        with pytest.raises(UnsupportedModelError, match="lacks a tokenizer") as caught:
            fetch(
                published.magnet,
                user / "model",
                home=Home(user / "weightshare"),
                trust=[published.trust[1]],
                network="local",
                peers=[(host, int(port))],
                on_passed=refuse,
            )
        assert caught.value.exit_code == 7
        assert not (user / "model").exists()
        assert result(user, "ls") == {"releases": []}
        done = weightshare(user, "fetch", published.magnet, *published.trust, "--peer", seeder.peer)
        given = seeder.stop()["uploaded"]
    assert done.returncode == 0
    shown = done.stderr.decode()
    assert "to be run it lacks a tokenizer" in " ".join(shown.split())
    assert shown.index("note:") < shown.index("every byte proven")
    assert given < 1.5 * published.size, "the one that was refused fetched no weights"
