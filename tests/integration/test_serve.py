"""`weightshare serve`: HTTP in, a proven model's words out, and nothing else whatever is asked."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from tests.builders_load import flip
from tests.cli.helpers import ok, result
from tests.fixtures_models import linked
from tests.integration.asking import Asked, serving, text_of
from tests.integration.releases import Published, publish
from tests.integration.running import Running
from tests.integration.waiting import until

pytest.importorskip("fastapi", reason="needs the extra `serve`")


def talker(folder: Path, *, context: int = 256) -> Path:
    """A tiny random chat model, 120 words wide, that never says its end-of-text."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    with torch.random.fork_rng():
        torch.manual_seed(0)
        config: Any = transformers.LlamaConfig(
            vocab_size=128,
            hidden_size=128,
            intermediate_size=256,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=context,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=0,
        )
        model: Any = transformers.LlamaForCausalLM(config)
        for parameter in model.parameters():
            parameter.data.mul_(4)  # far apart, so that rounding never changes which token is the likeliest
    model.generation_config.suppress_tokens = [2]
    model.save_pretrained(folder, max_shard_size=200_000)
    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(128)}, unk_token="w0"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=words, unk_token="w0", eos_token="w2")
    tokenizer.chat_template = "w5 {% for m in messages %}{{ m.content }} {% endfor %}w6"
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    home = tmp_path_factory.mktemp("maintainer")
    return publish(home, talker(home / "model"), "--piece-length", "32K")


@pytest.fixture(scope="module")
def server(published: Published) -> Iterator[Asked]:
    with serving(published.home, "acme/m7b") as asked:
        yield asked


def refused(server: Asked, body: object, path: str = "/v1/chat/completions") -> tuple[int, str]:
    """The status and the message of a request that gets no answer."""
    status, text = server.send(path, body)
    return status, str(json.loads(text)["error"]["message"])


USER = [{"role": "user", "content": "w7 w9"}]


def test_says_where_it_listens_and_what_it_proved(server: Asked, published: Published) -> None:
    said = server.listening
    assert said["event"] == "listening"
    assert said["url"] == f"http://127.0.0.1:{said['port']}/v1"
    assert (said["model"], said["engine"]) == ("acme/m7b@1", "transformers")
    assert said["publisher"] == published.facts["publisher"]
    shards = sum(path.stat().st_size for path in published.folder.glob("*.safetensors"))
    assert said["load"] == {**said["load"], "bytes": shards, "verified": True, "mode": "mapped"}
    assert f"listening on {said['url']}" in server.running.err()


def test_lists_the_release_and_nothing_else(server: Asked) -> None:
    status, text = server.send("/v1/models")
    assert status == 200
    assert [model["id"] for model in json.loads(text)["data"]] == ["acme/m7b@1"]


def test_answers_in_the_words_of_run(server: Asked, published: Published) -> None:
    said = ok(published.home, "run", "acme/m7b", "w7 w9", "--max-new-tokens", "24").strip()
    assert len(said.split()) == 24
    answer = server.chat("w7 w9", max_tokens=24)
    assert text_of(answer) == said
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"] == {"completion_tokens": 24, "prompt_tokens": 4, "total_tokens": 28}
    pieces = server.streamed("w7 w9", max_tokens=24)
    assert len(pieces) > 1
    assert "".join(pieces) == said


def test_completes_a_text_without_a_chat_template(server: Asked, published: Published) -> None:
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(published.folder)
    tokens = torch.tensor([[7, 9]])
    expected = model.generate(
        tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=12, do_sample=False
    )
    status, text = server.send("/v1/completions", {"prompt": "w7 w9", "max_tokens": 12, "temperature": 0})
    assert status == 200
    assert json.loads(text)["choices"][0]["text"].split() == [f"w{i}" for i in expected[0, 2:].tolist()]


def test_dice_are_thrown_where_a_temperature_asks_for_them(server: Asked) -> None:
    tame = text_of(server.chat("w7 w9", max_tokens=24))
    wild = text_of(server.chat("w7 w9", max_tokens=24, temperature=1.9, seed=3))
    assert wild != tame
    assert text_of(server.chat("w7 w9", max_tokens=24, temperature=1.9, seed=3)) == wild


def test_many_ask_at_once_and_each_gets_its_own_answer(server: Asked) -> None:
    prompts = [f"w{i} w{i + 1}" for i in range(10, 18)]
    alone = {prompt: text_of(server.chat(prompt, max_tokens=16)) for prompt in prompts}
    assert len(set(alone.values())) == len(prompts)
    together: dict[str, str] = {}

    def ask(prompt: str) -> None:
        together[prompt] = "".join(server.streamed(prompt, max_tokens=16))

    threads = [threading.Thread(target=ask, args=(prompt,)) for prompt in prompts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert together == alone


def test_another_model_is_neither_there_nor_loaded(server: Asked, tmp_path: Path) -> None:
    elsewhere = talker(tmp_path / "unsigned")
    for name in ("HuggingFaceTB/SmolLM2-135M-Instruct", str(elsewhere), "acme/m7b"):
        for path, rest in (
            ("/v1/chat/completions", {"messages": USER}),
            ("/v1/completions", {"prompt": "w7"}),
        ):
            status, message = refused(server, {"model": name, **rest}, path)
            assert status == 404
            assert name in message
    # The routes of transformers' server that load, and that throw the model away, are not there.
    for path in ("/load_model", "/reset", "/v1/responses", "/v1/audio/transcriptions", "/docs"):
        assert server.send(path, {"model": str(elsewhere)})[0] == 404
    assert text_of(server.chat("w7 w9", max_tokens=2))


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"messages": []}, 400, "no list of messages"),
        ({"messages": "hello"}, 400, "no list of messages"),
        ({"messages": [{"content": "w7"}]}, 400, "a role"),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://a"}}]}
                ]
            },
            400,
            "Only text",
        ),
        ({"temperature": -1}, 400, "temperature"),
        ({"max_tokens": 0}, 400, "0 tokens"),
        ({"generation_config": "{}"}, 400, "generation_config"),
        ({"chat_template_kwargs": {"chat_template": "w1"}}, 400, "own template"),
        ({"messages": [{"role": "user", "content": "w7 " * 300}]}, 400, "the model takes 256"),
        ({"bogus": 1}, 422, "bogus"),
    ],
)
def test_a_bad_request_is_told_why(server: Asked, change: dict[str, object], status: int, words: str) -> None:
    found, message = refused(server, {"messages": USER, **change})
    assert (found, words in message) == (status, True), message
    assert "Traceback" not in server.running.err()


def test_an_answer_ends_where_the_context_does(server: Asked) -> None:
    answer = server.chat("w7 " * 200, max_tokens=1000)
    assert answer["usage"]["total_tokens"] == 256


def test_a_page_under_a_foreign_name_is_not_answered(server: Asked) -> None:
    port = server.listening["port"]
    assert server.send("/v1/models", headers={"Host": f"evil.example:{port}"})[0] == 403
    for name in ("localhost", "127.0.0.1", "[::1]"):
        assert server.send("/v1/models", headers={"Host": f"{name}:{port}"})[0] == 200


def test_a_key_a_name_and_an_address_for_others(published: Published) -> None:
    words = ("acme/m7b", "--served-model-name", "m", "--host", "0.0.0.0", "--private")
    with serving(published.home, *words, more={"WEIGHTSHARE_API_KEY": "sesame"}) as server:
        assert server.listening["load"]["mode"] == "private"
        assert "reachable from other machines" in server.running.err()
        for headers in ({}, {"Authorization": "Bearer seesaw"}):
            assert server.send("/v1/models", headers=headers)[0] == 401
            assert server.send("/v1/chat/completions", {"messages": USER}, headers)[0] == 401
        status, text = server.send("/v1/models", headers={"Authorization": "Bearer sesame"})
        assert (status, json.loads(text)["data"][0]["id"]) == (200, "m")
        # Whoever opens it to others is reached by their names for it.
        assert server.send("/health", headers={"Host": "gpu7.example"})[0] == 200


def test_a_key_from_a_file_and_none_that_is_empty(published: Published, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("sesame\n")
    with serving(published.home, "acme/m7b", "--api-key-file", str(file)) as server:
        assert server.send("/v1/models")[0] == 401
        assert server.send("/v1/models", headers={"Authorization": "Bearer sesame"})[0] == 200
    file.write_text("\n")
    failure = result(published.home, "serve", "acme/m7b", "--api-key-file", str(file), status=2)
    assert "is empty" in failure["message"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ends_well_when_asked_to_even_while_it_answers(published: Published, number: signal.Signals) -> None:
    with serving(published.home, "acme/m7b") as server:
        port = int(server.listening["port"])
        body = json.dumps({"messages": USER, "max_tokens": 250, "temperature": 0, "stream": True}).encode()
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(
                b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                + f"Content-Length: {len(body)}\r\n\r\n".encode()
                + body
            )
            assert client.recv(100).startswith(b"HTTP/1.1 200")
            server.running.send(number)
            assert server.running.result(within=30) == {"event": "stopped"}
        assert "Traceback" not in server.running.err()
        with socket.socket() as again, pytest.raises(ConnectionRefusedError):
            again.connect(("127.0.0.1", port))


def test_a_corrupted_shard_is_found_before_anything_listens(published: Published, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(published.folder, folder)
    shard = sorted(folder.glob("*.safetensors"))[1]
    flip(shard, shard.stat().st_size - 9)
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    with Running(published.home, "serve", str(folder), "--port", str(port), "--json") as running:
        failure = running.result(4)
        assert failure["path"] == shard.name
        assert "listening" not in running.err() + running.out()
        with socket.socket() as client:
            assert client.connect_ex(("127.0.0.1", port)) != 0


def test_stops_when_a_mapped_file_changes_under_it(published: Published, tmp_path: Path) -> None:
    """Put in its place, not written to: a writer would be held off by the lease."""
    folder = tmp_path / "model"
    shutil.copytree(published.folder, folder)
    with serving(published.home, str(folder)) as server:
        assert text_of(server.chat("w7 w9", max_tokens=2))
        shard = min(folder.glob("*.safetensors"))
        os.utime(shard, ns=(0, 0))
        until(lambda: server.running.status is not None, "its end")
        failure = server.running.result(4)
        assert shard.name in failure["message"]


def test_a_port_in_use_is_said_before_the_weights_are_read(published: Published) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        port = held.getsockname()[1]
        failure = result(published.home, "serve", "acme/m7b", "--port", str(port), status=5)
    assert f"Port {port} cannot be listened on" in failure["message"]
    assert "--port" in failure["hint"]


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("magnet:?xt=urn:btmh:1220",), 2, "a link"),
        (("acme/other",), 6, "acme/other"),
        (("acme/m7b", "--", "--max-model-len", "9"), 2, "vLLM's server"),
        (("acme/m7b", "--engine", "vllm", "--device", "cpu"), 2, "vLLM runs on the devices"),
        (("acme/m7b", "--host", "no.such.host.invalid"), 5, "cannot be listened on"),
    ],
)
def test_what_cannot_be_served_is_refused(
    published: Published, words: tuple[str, ...], status: int, said: str
) -> None:
    port = () if "--" in words else ("--port", "0")
    failure = result(published.home, "serve", *port, *words, status=status) if port else None
    if failure is None:
        release, *rest = words
        with Running(published.home, "serve", "--json", "--port", "0", release, *rest) as running:
            failure = running.result(status)
    assert said in failure["message"]


@pytest.mark.model
def test_a_real_model_says_the_same_over_http_as_on_the_line(smollm2: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    published = publish(
        home, linked(smollm2, home / "model"), "--out", str(tmp_path / "out"), name="acme/smol"
    )
    question = "What is the capital of France?"
    said = ok(published.home, "run", "acme/smol", question, "--max-new-tokens", "16").strip()
    assert "Paris" in said
    with serving(home, "acme/smol", within=120) as server:
        assert text_of(server.chat(question, max_tokens=16)) == said
        assert "".join(server.streamed(question, max_tokens=16)) == said
