"""transformers' server is what we take it for, and a version that is not is told apart before anything is loaded."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from weightshare.errors import UnsupportedModelError
from weightshare.run import server_parts

pytest.importorskip("fastapi", reason="needs the extra `serve`")


def test_the_installed_transformers_has_the_server_that_we_know() -> None:
    assert server_parts.differences(server_parts.parts()) == []


def test_a_server_that_takes_other_arguments_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    found = server_parts.parts()

    class Renamed(found.manager):  # type: ignore[name-defined, misc]
        def load_model_and_processor(self, model: str) -> tuple[Any, Any]:
            raise AssertionError(model)

    other = replace(found, manager=Renamed)
    assert server_parts.differences(other) == [
        "ModelManager.load_model_and_processor does not take model_id_and_revision"
    ]
    assert server_parts.differences(replace(found, generate=object)) == [
        "GenerateManager.generate_streaming is not there",
        "GenerateManager.generate_non_streaming is not there",
    ]
    from transformers.cli.serving import model_manager

    monkeypatch.setattr(model_manager, "ModelManager", Renamed)
    with pytest.raises(UnsupportedModelError, match="another server inside") as caught:
        server_parts.parts()
    assert "5.23" in caught.value.hint
    assert caught.value.exit_code == 7
