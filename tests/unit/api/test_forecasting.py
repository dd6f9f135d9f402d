"""What `run` will say to a release, told by its file names."""

from __future__ import annotations

import pytest

from weightshare.api import forecasting
from weightshare.api.forecasting import check_runnable, forecast
from weightshare.errors import LoadError, MissingExtraError, PickleError, UnsupportedModelError

WHOLE = ["config.json", "model.safetensors", "tokenizer.json"]


def test_nothing_stands_in_the_way_of_a_whole_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecasting, "installed", lambda package: True)
    assert forecast(WHOLE).notes() == ()
    check_runnable("acme/m@1", WHOLE)


@pytest.mark.parametrize(
    ("paths", "says"),
    [
        (WHOLE[:2], "a tokenizer"),
        (["model.safetensors", "tokenizer.json"], "config.json"),
        (["config.json", "tokenizer.json", "pytorch_model.bin"], "safetensors"),
        (["model_index.json", "unet/model.safetensors"], "pipelines"),
        (["README.md"], "weights"),
    ],
)
def test_what_is_lacking_is_named_and_refused(paths: list[str], says: str) -> None:
    assert says in forecast(paths).notes()[0]
    with pytest.raises(UnsupportedModelError, match=says) as caught:
        check_runnable("acme/m@1", paths)
    assert caught.value.exit_code == 7


def test_an_adapter_runs_where_its_base_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecasting, "installed", lambda package: True)
    paths = ["adapter_config.json", "adapter_model.safetensors"]
    with pytest.raises(LoadError, match="base model"):
        check_runnable("acme/m@1", paths)
    check_runnable("acme/m@1", paths, given=["base"])


def test_pickles_want_a_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecasting, "installed", lambda package: True)
    paths = ["params.json", "consolidated.00.pth", "tokenizer.model"]
    assert "--allow-pickle" in forecast(paths).notes()[0]
    assert forecast(paths).notes(allow_pickle=True) == ()
    with pytest.raises(PickleError) as caught:
        check_runnable("acme/m@1", paths)
    assert caught.value.exit_code == 8
    check_runnable("acme/m@1", paths, allow_pickle=True)


def test_what_is_not_installed_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecasting, "installed", lambda package: package not in ("gguf", "torch"))
    assert "weightshare[gguf]" in forecast(["m.gguf"]).notes(plainly=False)[0]
    assert forecast(WHOLE).notes(plainly=False) == ()
    assert "weightshare[run]" in forecast(WHOLE).notes()[0]
    with pytest.raises(MissingExtraError, match="torch") as caught:
        check_runnable("acme/m@1", WHOLE)
    assert caught.value.exit_code == 7


def test_looking_imports_nothing() -> None:
    assert forecasting.installed("no_such_package_at_all") is False
    assert forecasting.installed("json") is True
