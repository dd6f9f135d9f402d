"""What a signed release can try when it is loaded: by somebody whose key you pinned, or on a disk that others write to.

All is properly signed unless it says otherwise, so nothing but the loader stands between these bytes and the machine.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.attacks.forge import ACME, release
from tests.builders_load import flip
from tests.builders_releases import knows, pin
from tests.cli.helpers import weightshare
from tests.integration.test_run_tiny import change_config, checkpoint, logits, words
from tests.unit.content.test_gguf_header import LIES
from weightshare.api.opening import open_release
from weightshare.api.running import from_pretrained, run
from weightshare.content.home import Home
from weightshare.errors import UnsupportedModelError, WeightshareError
from weightshare.manifest.model import MANIFEST_NAME
from weightshare.run import gguf_runner, templating

SHARD = "model.safetensors"
INDEX = "model.safetensors.index.json"
posix = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX links and pipes")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A tiny chat model that runs."""
    folder = checkpoint(tmp_path_factory.mktemp("sound") / "model", "llama")
    words(folder, chat=True)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


class Target:
    """Somebody who knows acme, and a folder that holds what acme signed."""

    def __init__(self, root: Path, files: dict[str, bytes]) -> None:
        self.root = root
        self.folder = root / "model"
        self.ran = root / "ran"
        self.home = Home(root / "home" / "weightshare")
        self.home.path.mkdir(parents=True)
        knows(pin(ACME)).save(self.home.known_publishers)
        for path, data in files.items():
            (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / path).write_bytes(data)

    def sign(self) -> None:
        """Sign the folder as it is now."""
        held = {
            path.relative_to(self.folder).as_posix(): path.read_bytes()
            for path in self.folder.rglob("*")
            if path.is_file() and path.name != MANIFEST_NAME
        }
        (self.folder / MANIFEST_NAME).write_bytes(release(contents=held).envelope)

    def ending(self) -> int:
        """The status that running it ends with."""
        try:
            run(str(self.folder), "w3", home=self.home, loading={"device": "cpu"}, max_new_tokens=2)
        except WeightshareError as error:
            return error.exit_code
        return 0

    def refused(self, code: int, says: str = "") -> WeightshareError:
        """Run the folder as it stands; it must end in this way and run nothing."""
        with pytest.raises(WeightshareError) as caught:
            run(str(self.folder), "w3 w4", home=self.home, loading={"device": "cpu"}, max_new_tokens=2)
        assert caught.value.exit_code == code, caught.value
        assert says in caught.value.message, caught.value.message
        assert not self.ran.exists()
        return caught.value


@pytest.fixture
def target(tmp_path: Path, sound: dict[str, bytes]) -> Target:
    return Target(tmp_path, sound)


def test_the_honest_one_runs(target: Target) -> None:
    target.sign()
    assert run(
        str(target.folder), "w3 w4", home=target.home, loading={"device": "cpu"}, max_new_tokens=2
    ).tokens


# ---- chat templates

ESCAPES = {
    "classes": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "globals": "{{ cycler.__init__.__globals__.os.system('touch RAN') }}",
    "helper": "{{ raise_exception.__globals__['os'].system('touch RAN') }}",
    "clock": "{{ strftime_now.__globals__['__builtins__'] }}",
    "format": "{{ '{0.__class__.__init__.__globals__}'.format(messages) }}",
    "map": "{{ messages|map(attribute='__class__')|list }}{{ messages[0].__class__.__base__.__subclasses__() }}",
    "attr": "{{ (''|attr('__class__')).__mro__ }}",
    "change": "{{ messages.append(messages[0]) }}",
    "include": "{% include '/etc/passwd' %}",
    "import": "{% import 'os' as os %}{{ os.getcwd() }}",
}
BROKEN = {
    "range": "{{ range(10 ** 9)|list }}",
    "zero": "{{ 1 / 0 }}",
    "type": "{{ 'a' + 1 }}",
    "recursion": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "syntax": "{% for %}",
    "deep": "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}",
    "long": "{{ 'a' * 20000000 }}",
}


@pytest.mark.parametrize("template", [*ESCAPES.values(), *BROKEN.values()], ids=[*ESCAPES, *BROKEN])
def test_a_template_that_reaches_out_or_breaks_gives_no_answer(target: Target, template: str) -> None:
    text = template.replace("RAN", str(target.ran))
    (target.folder / "chat_template.jinja").write_text(text)
    target.sign()
    error = target.refused(7, "chat template")
    assert isinstance(error, UnsupportedModelError)
    assert "inspect" in error.hint


ENDLESS = {
    "loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "text": "{% set n = namespace(a=0) %}{% for a in range(99999) %}{% for b in range(99999) %}"
    "{% set n.a = n.a + 1 %}{% endfor %}{% endfor %}{{ n.a }}",
}


@pytest.mark.parametrize("template", ENDLESS.values(), ids=ENDLESS)
def test_a_template_that_does_not_end_is_stopped(
    target: Target, template: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(templating, "SECONDS", 0.5)
    (target.folder / "chat_template.jinja").write_text(template)
    target.sign()
    target.refused(7, "has not ended")


# ---- configurations and tokenizers


def deep(levels: int) -> Any:
    value: Any = 1
    for level in range(levels):
        value = {"a": value} if level % 2 else [value]
    return value


CONFIGS: dict[str, dict[str, Any]] = {
    "deep": {"extra": deep(700)},
    "kernel": {"text_config": {"attn_implementation": "evil/kernel"}},
    "layers": {"num_hidden_layers": 10**9},
    "layers-within": {"text_config": {"num_layers": 10**9}},
    "labels": {"num_labels": 10**9},
    "experts": {"num_local_experts": 10**9},
    "negative": {"num_hidden_layers": -1},
    "hidden": {"hidden_size": 10**12},
    "types": {"hidden_size": "large"},
    "no-such": {"architectures": ["../../evil"], "auto_map": {"AutoModel": "../evil.Model"}},
    "hub-code": {"architectures": ["NewModel"], "auto_map": {"AutoModel": "evil/repo--modeling.Model"}},
    "dtype": {"dtype": "no_such_dtype"},
    "function": {"hidden_act": "__import__"},
}


@pytest.mark.parametrize("change", CONFIGS.values(), ids=CONFIGS)
def test_a_config_that_asks_for_what_cannot_be(target: Target, change: dict[str, Any]) -> None:
    change_config(target.folder, **change)
    target.sign()
    target.refused(7)


TOKENIZERS: dict[str, tuple[str, bytes]] = {
    "garbage": ("tokenizer.json", b"\x80\x04garbage"),
    "list": ("tokenizer.json", b"[]"),
    "deep": ("tokenizer.json", b'{"a":' * 5000 + b"1" + b"}" * 5000),
    "config-garbage": ("tokenizer_config.json", b"{"),
    "config-list": ("tokenizer_config.json", b"[]"),
    "class": ("tokenizer_config.json", b'{"tokenizer_class": "os.system"}'),
    "generation": ("generation_config.json", b'{"max_length": '),
}


@pytest.mark.parametrize(("name", "data"), TOKENIZERS.values(), ids=TOKENIZERS)
def test_small_files_that_are_not_what_they_should_be(target: Target, name: str, data: bytes) -> None:
    (target.folder / name).write_bytes(data)
    target.sign()
    if name == "tokenizer_config.json":  # transformers may do without; it must not read or run anything else
        assert target.ending() in (0, 2, 7)
        return
    target.refused(7)


def test_code_for_a_tokenizer_is_never_run(target: Target) -> None:
    (target.folder / "tokenization_evil.py").write_text(f"open({str(target.ran)!r}, 'w')")
    path = target.folder / "tokenizer_config.json"
    table = json.loads(path.read_text())
    table["auto_map"] = {"AutoTokenizer": ["tokenization_evil.Evil", "tokenization_evil.Evil"]}
    table["tokenizer_class"] = "Evil"
    path.write_text(json.dumps(table))
    target.sign()
    assert target.ending() in (0, 7)
    assert not target.ran.exists()


def test_a_generation_config_that_cannot_be(target: Target) -> None:
    path = target.folder / "generation_config.json"
    path.write_text(json.dumps({"num_beams": -3, "eos_token_id": "x", "custom_generate": "evil/repo"}))
    target.sign()
    target.refused(7)


def test_what_the_caller_raises_is_the_callers(target: Target) -> None:
    """A reader that goes away is no fault of the model's."""

    def gone(_: str) -> None:
        raise KeyError("gone")

    target.sign()
    with pytest.raises(KeyError, match="gone"):
        run(
            str(target.folder),
            "w3",
            home=target.home,
            loading={"device": "cpu"},
            max_new_tokens=2,
            on_text=gone,
        )


# ---- shards and their index


def shard(header: bytes, data: bytes = bytes(64), length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def entry(begin: int, end: int, shape: list[int] | None = None, dtype: str = "U8") -> dict[str, Any]:
    return {"dtype": dtype, "shape": [end - begin] if shape is None else shape, "data_offsets": [begin, end]}


def table(**tensors: Any) -> bytes:
    return json.dumps(tensors).encode()


HEADERS = {
    "overlap": shard(table(a=entry(0, 40), b=entry(24, 64))),
    "hole": shard(table(a=entry(0, 24), b=entry(40, 64))),
    "outside": shard(table(a=entry(0, 4096))),
    "before": shard(table(a=entry(-8, 56))),
    "backwards": shard(table(a=entry(64, 0))),
    "short-of-the-end": shard(table(a=entry(0, 8))),
    "shape": shard(table(a=entry(0, 64, [8, 9]))),
    "overflow": shard(table(a=entry(0, 64, [2**32, 2**32, 64]))),
    "dtype": shard(table(a=entry(0, 64, dtype="PICKLE"))),
    "twice": shard(
        b'{"a":' + json.dumps(entry(0, 64)).encode() + b',"a":' + json.dumps(entry(0, 64)).encode() + b"}"
    ),
    "nan": shard(b'{"a":{"dtype":"U8","shape":[NaN],"data_offsets":[0,64]}}'),
    "infinity": shard(b'{"a":{"dtype":"U8","shape":[1e999],"data_offsets":[0,64]}}'),
    "fraction": shard(b'{"a":{"dtype":"U8","shape":[64.0],"data_offsets":[0,64]}}'),
    "deep": shard(b'{"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}"),
    "huge-length": shard(table(a=entry(0, 64)), length=2**63),
    "length-past-the-end": shard(table(a=entry(0, 64)), length=10_000),
    "not-json": shard(b"\x80\x04\x95pickle"),
    "escape-in-a-name": shard(table(**{"a\x1b[2J": entry(0, 64)})),
    "surrogate": shard(b'{"\\ud800":' + json.dumps(entry(0, 64)).encode() + b"}"),
    "four-bytes": b"\x00\x00\x00\x00",
}


def one_shard(target: Target, data: bytes) -> None:
    for path in target.folder.glob("model*"):
        path.unlink()
    (target.folder / SHARD).write_bytes(data)


@pytest.mark.parametrize("data", HEADERS.values(), ids=HEADERS)
def test_a_header_that_lies(target: Target, data: bytes) -> None:
    one_shard(target, data)
    target.sign()
    error = target.refused(4, SHARD)
    assert error.message.isprintable()


INDEXES: dict[str, Callable[[dict[str, str]], Any]] = {
    "parent": lambda m: {**m, next(iter(m)): "../outside.safetensors"},
    "absolute": lambda m: {**m, next(iter(m)): "/etc/passwd"},
    "absolute-shard": lambda m: {**m, next(iter(m)): "/etc/passwd.safetensors"},
    "folder": lambda m: {**m, next(iter(m)): "sub/model.safetensors"},
    "missing": lambda m: {**m, next(iter(m)): "model-00009-of-00009.safetensors"},
    "other": lambda m: {**m, next(iter(m)): sorted(set(m.values()) - {next(iter(m.values()))})[0]},
    "unknown-tensor": lambda m: {**m, "evil": next(iter(m.values()))},
    "pickle": lambda m: {**m, next(iter(m)): "pytorch_model.bin"},
    "number": lambda m: {**m, next(iter(m)): 7},
    "url": lambda m: {**m, next(iter(m)): "https://evil.example/x.safetensors"},
    "empty": lambda m: {},
    "list": lambda m: list(m),
}


@pytest.mark.parametrize("change", INDEXES.values(), ids=INDEXES)
def test_an_index_that_points_elsewhere(target: Target, change: Callable[[dict[str, str]], Any]) -> None:
    path = target.folder / INDEX
    index = json.loads(path.read_text())
    index["weight_map"] = change(index["weight_map"])
    path.write_text(json.dumps(index))
    (target.root / "outside.safetensors").write_bytes(shard(table(a=entry(0, 64))))
    target.sign()
    target.refused(4)


def test_an_index_nested_beyond_reason(target: Target) -> None:
    (target.folder / INDEX).write_bytes(b'{"weight_map":' * 50_000)
    target.sign()
    target.refused(4, INDEX)


@pytest.mark.parametrize("lie", ["tensors-beyond", "overlap", "past-the-end", "text-beyond"])
def test_a_gguf_header_that_lies_reaches_no_runner(
    target: Target, lie: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gguf_runner, "NEEDED", ("torch", "transformers"))
    monkeypatch.setattr(
        "transformers.AutoModelForCausalLM.from_pretrained", None
    )  # would raise, if it came to it
    for path in target.folder.iterdir():
        path.unlink()
    (target.folder / "model.gguf").write_bytes(LIES[lie])
    target.sign()
    target.refused(4, "bad GGUF header")


# ---- pickles


class Evil:
    """Runs a command when it is unpickled by a program that believes it."""

    def __init__(self, command: str) -> None:
        self._command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self._command,)


def mistral(target: Target, weights: bytes) -> None:
    """Put a release in Mistral's older layout in the folder."""
    for path in target.folder.iterdir():
        if path.name not in ("tokenizer.json", "tokenizer_config.json"):
            path.unlink()
    params = {
        "dim": 32,
        "n_layers": 1,
        "head_dim": 8,
        "hidden_dim": 64,
        "n_heads": 4,
        "n_kv_heads": 2,
        "norm_eps": 1e-5,
        "vocab_size": 128,
    }
    (target.folder / "params.json").write_text(json.dumps(params))
    (target.folder / "consolidated.00.pth").write_bytes(weights)


def evil_pth(target: Target, zipped: bool) -> bytes:
    command = Evil(f"touch {target.ran}")
    if not zipped:
        return pickle.dumps(command)
    saved = io.BytesIO()
    torch.save({"norm.weight": torch.ones(32), "x": command}, saved)
    return saved.getvalue()


@pytest.mark.parametrize("zipped", [True, False], ids=["torch", "bare"])
def test_a_pickle_that_would_run_a_command_never_does(target: Target, zipped: bool) -> None:
    weights = evil_pth(target, zipped)
    mistral(target, weights)
    target.sign()
    target.refused(8, "pickle")
    with pytest.raises(WeightshareError) as caught:
        run(
            str(target.folder),
            "w3",
            home=target.home,
            loading={"device": "cpu", "allow_pickle": True},
            max_new_tokens=2,
        )
    assert caught.value.exit_code in (4, 7, 8), caught.value
    assert not target.ran.exists()
    if not zipped:
        pickle.loads(weights)
        assert target.ran.exists(), "believed, it would have run"


# ---- a disk that others write to


@posix
@pytest.mark.parametrize("name", [SHARD, "config.json", "tokenizer.json"])
def test_a_link_in_a_files_place_is_not_followed(target: Target, name: str) -> None:
    """Even where it leads to the very bytes: who may change them there is another question."""
    target.sign()
    path = target.folder / name
    if name == SHARD:
        path = sorted(target.folder.glob("model-*.safetensors"))[0]
    moved = target.root / "elsewhere"
    path.rename(moved)
    path.symlink_to(moved)
    target.refused(4, "a symbolic link")


@posix
def test_a_pipe_in_a_files_place_is_not_waited_for(target: Target) -> None:
    target.sign()
    (target.folder / "config.json").unlink()
    os.mkfifo(target.folder / "config.json")
    target.refused(4, "not a regular file")


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "chat_template.jinja", INDEX])
def test_a_small_file_changed_after_it_was_signed(target: Target, name: str) -> None:
    target.sign()
    flip(target.folder / name, 5)
    target.refused(4, name)


@posix
@pytest.mark.parametrize("private", [False, True], ids=["mapped", "private"])
def test_a_folder_swapped_after_the_proof_changes_nothing_that_was_loaded(
    target: Target, private: bool
) -> None:
    """The model keeps the bytes that were proven; where it works on the files themselves, it also says no more."""
    target.sign()
    model, _ = from_pretrained(target.folder, home=target.home, device="cpu", private=private)
    before = logits(model)
    with open_release(target.folder, home=target.home).runner(device="cpu", private=private) as runner:
        other = target.root / "other"
        target.folder.rename(target.root / "gone")
        target.folder.symlink_to(other)
        other.mkdir()
        for path in (target.root / "gone").iterdir():
            data = bytearray(path.read_bytes())
            data[-1] ^= 1
            (other / path.name).write_bytes(bytes(data))
        assert logits(model).equal(before)
        assert logits(runner.model).equal(before)
        for path in (target.root / "gone").glob("*.safetensors"):
            (other / path.name).replace(path)  # over the very names that were proven
        assert logits(runner.model).equal(before)
        if private:
            assert runner.generate("w3", max_new_tokens=2).tokens
        else:
            with pytest.raises(WeightshareError, match="changed while it was used") as caught:
                runner.generate("w3", max_new_tokens=2)
            assert caught.value.exit_code == 4
    assert torch.isfinite(before).all()


# ---- as a user sees it


ENDINGS: dict[str, tuple[Callable[[Target], object], int, str]] = {
    "template": (
        lambda t: (t.folder / "chat_template.jinja").write_text(
            ESCAPES["globals"].replace("RAN", str(t.ran))
        ),
        7,
        "chat template",
    ),
    "header": (lambda t: one_shard(t, HEADERS["overlap"]), 4, "overlaps"),
    "kernel": (lambda t: change_config(t.folder, attn_implementation="evil/kernel"), 7, "evil/kernel"),
}


@pytest.mark.parametrize(("change", "code", "says"), ENDINGS.values(), ids=ENDINGS)
def test_the_command_line_ends_in_one_error(
    target: Target, change: Callable[[Target], object], code: int, says: str
) -> None:
    change(target)
    target.sign()
    words_ = ("run", str(target.folder), "w3", "--device", "cpu", "--home", str(target.home.path))
    done = weightshare(target.root, *words_, "--json")
    assert done.returncode == code, done.stderr.decode()
    value = json.loads(done.stdout)
    assert says in value["message"]
    assert value["exit_code"] == code
    assert b"Traceback" not in done.stderr
    assert not target.ran.exists()
