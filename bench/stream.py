"""How soon a release answers after its last piece is here: loaded while it came, and loaded after it came.

Streaming: one process fetches from our own seeder on loopback, capped to a rate at which the load can keep up, as any
network of up to 10 Gbit/s is; the clock runs from the moment the engine says that the last piece of the weights can be
read, until the first token of an answer. Plain: another process loads the release that is here, as `run` does (mapped,
every byte proven through the mapping), builds the model and makes the first token of the same answer; the clock runs
from before the load. The files are in the page cache in both.

PyTorch, transformers and the model's own module in it are imported before the clock starts in both, unless said
otherwise: `with imports` is what a user sees who types `fetch` and then `run`, a new process each, against one who
types `fetch --run`. There the streaming side imports while it fetches, which is what the cap gives it time for; the
plain side imports after. What a process does once at its first token besides, the streaming side has done by then too,
with a token that nobody sees.

Both must give the same text.

Prediction, written before the first run: after the last piece a piece is to be hashed (1 ms), the root over all pieces
to be made, and the first token to be computed, which the plain side computes too. So the ratio is that of a forward
pass to load, build and forward pass: 0.1 to 0.25, the smaller the more layers there are to load for each token.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.harness import alternate, hardware, medians, print_table, publish
from bench.sides import environment, our_seeder, weightshare
from weightshare.units import GIB, parse_size

LIMIT = 600
PROMPT = "What is the capital of France?"

_COMMON = """
import json, os, sys, time
how = json.loads(sys.argv[1])
if how["imports"] == "before":
    import weightshare.run.building, weightshare.run.generation
    import transformers
    transformers.LlamaForCausalLM, transformers.AutoTokenizer, transformers.AutoConfig  # imported when first named
from pathlib import Path
from weightshare.content.home import Home
home = Home(Path(how["home"]))
def first_token(runner):
    said = runner.generate(how["prompt"], max_new_tokens=1)
    return time.perf_counter(), said.text
"""

_PLAIN = (
    _COMMON
    + """
began = time.perf_counter()
from weightshare.api.running import open_runner
with open_runner(how["folder"], home=home, trust=[how["trust"]], device=how["device"]) as runner:
    loaded = time.perf_counter()
    ended, text = first_token(runner)
    print(json.dumps({"seconds": ended - began, "load_and_build": loaded - began, "text": text}))
"""
)

_STREAM = (
    _COMMON
    + """
from weightshare.api.streaming import Streaming
from weightshare.api.streamed import StreamedRunner
class Watched(Streaming):
    last = 0.0
    def piece(self, path, number, *, proven):
        if path.endswith(".safetensors") and not proven:
            Watched.last = time.perf_counter()
        super().piece(path, number, proven=proven)
with Watched(
    how["magnet"], model=True, answers=True, directory=how["folder"], home=home, trust=[how["trust"]],
    network="local", peers=[("127.0.0.1", how["port"])], max_down=how["rate"], loading={"device": how["device"]},
) as streaming:
    runner = streaming.runner()
    ready = time.perf_counter()
    ended, text = first_token(runner)
    last = Watched.last
    facts = {"seconds": ended - last, "ready": ready - last, "early": streaming._early.shared, "text": text}
    streaming.fetched()
    print(json.dumps(facts | {"fetched": time.perf_counter() - last}))
"""
)


def main() -> None:
    """Measure and report."""
    asked = _arguments()
    facts = hardware()
    with tempfile.TemporaryDirectory(prefix="weightshare-bench-", dir=asked.dir) as name:
        result = _measure(Path(name), asked)
    result = {"bench": "stream", "hardware": facts, **result}
    _print(result)
    publish(result, as_json=asked.json, out=asked.out)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--model", choices=["smollm2", "random"], default="smollm2", help="smollm2: the real one"
    )
    parser.add_argument("--layers", type=int, default=4, help="of the random model, 116 MiB each (4)")
    parser.add_argument("--runs", type=int, default=3, help="of each side, in turns (3)")
    parser.add_argument("--rate", default="32MiB", help="cap on the fetch, bytes a second (32MiB)")
    parser.add_argument("--device", default="cpu", help="where to run (cpu)")
    parser.add_argument("--dir", type=Path, default=Path("/dev/shm"), help="where the data lies (/dev/shm)")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    parser.add_argument("--out", type=Path, help="write the JSON object to a file")
    return parser.parse_args()


def _measure(work: Path, asked: argparse.Namespace) -> dict[str, Any]:
    folder = _checkpoint(work, asked)
    maintainer = work / "maintainer"
    weightshare(maintainer, "keys", "new", "acme")
    release = json.loads(weightshare(maintainer, "publish", str(folder), "--name", "acme/m", "--json"))
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    common = {
        "magnet": release["magnet"],
        "trust": release["publisher"],
        "rate": parse_size(asked.rate),
        "device": asked.device,
        "prompt": PROMPT if asked.model == "smollm2" else " ".join(f"w{n}" for n in range(3, 15)),
    }
    details: dict[str, list[dict[str, Any]]] = {}
    user = work / "plain"
    with our_seeder(maintainer) as port:
        here = weightshare(
            user, "fetch", release["magnet"], "--trust", release["publisher"], "--peer", f"127.0.0.1:{port}"
        ).strip()

        def side(name: str, code: str, imports: str) -> float:
            streams = code is _STREAM
            with tempfile.TemporaryDirectory(dir=work) as new:
                home = Path(new) if streams else user
                place = str(Path(new) / "out") if streams else here
                how = {**common, "port": port, "imports": imports, "folder": place}
                found = _child(code, home, how)
            details.setdefault(name, []).append(found)
            return float(found["seconds"])

        figures = alternate(
            {
                "streaming": lambda: side("streaming", _STREAM, "before"),
                "plain": lambda: side("plain", _PLAIN, "before"),
                "streaming with imports": lambda: side("streaming with imports", _STREAM, "while"),
                "plain with imports": lambda: side("plain with imports", _PLAIN, "while"),
            },
            asked.runs,
        )
    texts = {found["text"] for each in details.values() for found in each}
    if len(texts) > 1:
        raise SystemExit(f"The sides differ: {texts}")
    middle = medians(figures)
    return {
        "setup": {
            "model": asked.model,
            "weights_bytes": size,
            "rate": parse_size(asked.rate),
            "device": asked.device,
            "data": "page cache",
            "imports": "before the clock starts on both sides; `with imports`: streaming imports while it fetches",
        },
        "seconds": middle,
        "runs": figures,
        "details": details,
        "ratios": {
            "of_plain_load": middle["streaming"] / middle["plain"],
            "of_plain_load_with_imports": middle["streaming with imports"] / middle["plain with imports"],
        },
    }


def _checkpoint(work: Path, asked: argparse.Namespace) -> Path:
    if asked.model == "smollm2":
        from weightshare.run import demo_checkpoint

        return demo_checkpoint.build(work)
    code = """
import sys, torch, transformers
from tokenizers import Tokenizer, models, pre_tokenizers
config = transformers.LlamaConfig(
    vocab_size=128256, hidden_size=2048, intermediate_size=8192, num_hidden_layers=int(sys.argv[2]),
    num_attention_heads=32, num_key_value_heads=8, tie_word_embeddings=True, dtype="bfloat16",
)
torch.manual_seed(0)
torch.set_default_dtype(torch.bfloat16)
transformers.LlamaForCausalLM(config).save_pretrained(sys.argv[1], max_shard_size="256MB")
tokenizer = Tokenizer(models.WordLevel({f"w{i}": i for i in range(128256)}, unk_token="w0"))
tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="w0", eos_token="w2").save_pretrained(
    sys.argv[1])
"""
    folder = work / "model"
    subprocess.run(
        [sys.executable, "-c", code, str(folder), str(asked.layers)], check=True, capture_output=True
    )
    return folder


def _child(code: str, home: Path, how: dict[str, Any]) -> dict[str, Any]:
    words = json.dumps({**how, "home": str(home)})
    ran = subprocess.run(
        [sys.executable, "-c", code, words],
        capture_output=True,
        text=True,
        check=False,
        env=environment(home),
        timeout=LIMIT,
    )
    if ran.returncode:
        raise RuntimeError(ran.stderr)
    found: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return found


def _print(result: dict[str, Any]) -> None:
    seconds, setup = result["seconds"], result["setup"]
    print_table(
        f"{setup['model']}, {setup['weights_bytes'] / GIB:.2f} GiB of weights, to the first token",
        ["side", "seconds"],
        [[name, value] for name, value in seconds.items()],
    )
    print(
        f"\nafter the last piece, of a plain load: {result['ratios']['of_plain_load']:.2f}, "
        f"with imports {result['ratios']['of_plain_load_with_imports']:.2f}",
        file=sys.stderr,
    )


if __name__ == "__main__":
    main()
