"""Mistral's own layout as a transformers model: `params.json`, `consolidated*`, and mistral-common's tokenizer.

The same architecture under other names, with one difference in the numbers. Rotary embeddings turn pairs of values:
here a pair is two neighbours, in transformers it is a value of a head's first half and the one at the same place of its
second half. So the rows of wq and wk change places, within each head; all other tensors are used as they lie.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from weightshare.errors import MissingExtraError, UnsupportedModelError
from weightshare.load.layouts import PARAMS
from weightshare.run.building import mark_chat
from weightshare.run.quiet import quiet

_TOKENIZER = re.compile(r"tekken[\w.-]*\.json|[\w.-]*tokenizer[\w.-]*\.model(\.v\d+\w*)?")

_SIZES = {
    "dim": "hidden_size",
    "n_layers": "num_hidden_layers",
    "head_dim": "head_dim",
    "hidden_dim": "intermediate_size",
    "n_heads": "num_attention_heads",
    "n_kv_heads": "num_key_value_heads",
    "vocab_size": "vocab_size",
}
_MAY_LACK = ("head_dim", "n_kv_heads")
_MEANINGLESS = frozenset({"max_batch_size", "model_name"})
_FIXED = {"model_type": "transformer", "activation": "silu", "causal": True, "use_biases": False}

_NAMES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"tok_embeddings\.weight", "model.embed_tokens.weight"),
        (r"norm\.weight", "model.norm.weight"),
        (r"output\.weight", "lm_head.weight"),
        (r"layers\.(\d+)\.attention_norm\.weight", r"model.layers.\1.input_layernorm.weight"),
        (r"layers\.(\d+)\.ffn_norm\.weight", r"model.layers.\1.post_attention_layernorm.weight"),
        (r"layers\.(\d+)\.attention\.w([qkvo])\.weight", r"model.layers.\1.self_attn.\2_proj.weight"),
        (r"layers\.(\d+)\.feed_forward\.w1\.weight", r"model.layers.\1.mlp.gate_proj.weight"),
        (r"layers\.(\d+)\.feed_forward\.w2\.weight", r"model.layers.\1.mlp.down_proj.weight"),
        (r"layers\.(\d+)\.feed_forward\.w3\.weight", r"model.layers.\1.mlp.up_proj.weight"),
        (
            r"layers\.(\d+)\.(?:feed_forward|block_sparse_moe)\.gate\.weight",
            r"model.layers.\1.block_sparse_moe.gate.weight",
        ),
        (
            r"layers\.(\d+)\.(?:feed_forward|block_sparse_moe)\.experts\.(\d+)\.w([123])\.weight",
            r"model.layers.\1.block_sparse_moe.experts.\2.w\3.weight",
        ),
    )
)
_TURNED = re.compile(r"layers\.\d+\.attention\.w([qk])\.weight")
_COMPUTED = re.compile(r"rope\.freqs|freqs_cis")


@dataclass(frozen=True, slots=True)
class Params:
    """What `params.json` says, as transformers needs it.

    Attributes:
        model_class: `MistralForCausalLM` or `MixtralForCausalLM`.
        config: its configuration.
    """

    model_class: Any
    config: Any

    def renamed(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The tensors as transformers names them; all but those of wq and wk share their storage.

        Raises:
            UnsupportedModelError: a tensor of a name or size that the architecture has not.
        """
        heads = {"q": self.config.num_attention_heads, "k": self.config.num_key_value_heads}
        found = {}
        for name, tensor in tensors.items():
            if _COMPUTED.fullmatch(name):
                continue
            if turned := _TURNED.fullmatch(name):
                tensor = _half_by_half(name, tensor, heads[turned[1]], self.config.head_dim)
            found[_transformers_name(name)] = tensor
        return found


def read_params(data: bytes, release: str) -> Params:
    """The model that a proven `params.json` describes.

    Args:
        data: the file.
        release: what messages call the release.

    Raises:
        UnsupportedModelError: it is no Mistral or Mixtral, or has something that is not known here; it is named.
    """
    try:
        params = json.loads(data)
    except (ValueError, RecursionError):
        params = None
    if not isinstance(params, dict):
        raise _unknown(release, "it is no JSON object")
    given = {key: value for key, value in params.items() if value is not None and key not in _MEANINGLESS}
    for key, value in _FIXED.items():
        if (found := given.pop(key, value)) != value:
            raise _unknown(release, f"{key} is {found!r}, and only {value!r} is known")
    sizes = {}
    for key, name in _SIZES.items():
        if key in given or key not in _MAY_LACK:
            sizes[name] = _size(release, key, given.pop(key, None))
    sizes.setdefault("num_key_value_heads", sizes["num_attention_heads"])
    sizes.setdefault("head_dim", sizes["hidden_size"] // sizes["num_attention_heads"])
    window = given.pop("sliding_window", None)
    more: dict[str, Any] = {
        "sliding_window": None if window is None else _size(release, "sliding_window", window)
    }
    # The reference takes the smaller base only for models with a window, the first ones.
    base = _number(release, "rope_theta", given.pop("rope_theta", 1e4 if window else 1e6))
    more["rope_parameters"] = {"rope_type": "default", "rope_theta": base}
    more["rms_norm_eps"] = _number(release, "norm_eps", given.pop("norm_eps", 1e-5))
    more["tie_word_embeddings"] = given.pop("tied_embeddings", False) is True
    for key in ("max_seq_len", "max_position_embeddings"):
        if key in given:
            more["max_position_embeddings"] = _size(release, key, given.pop(key))
    experts = given.pop("moe", None)
    if given:
        raise _unknown(release, f"{', '.join(sorted(given))} is not known here")
    try:
        with quiet():
            if experts is None:
                model_class: Any = transformers.MistralForCausalLM
                config: Any = transformers.MistralConfig(**sizes, **more)
            else:
                model_class = transformers.MixtralForCausalLM
                config = transformers.MixtralConfig(**sizes, **more, **_experts(release, experts))
    except UnsupportedModelError:
        raise
    except Exception as error:  # whatever values can make transformers raise
        raise _unknown(release, str(error).strip().split("\n", 1)[0]) from error
    config.architectures = [model_class.__name__]
    return Params(model_class, config)


def read_tokenizer(target: Path, release: str) -> Any | None:
    """The tokenizer in a proven folder, None if there is none.

    Raises:
        MissingExtraError: mistral-common is not installed, and the tokenizer is one that it reads.
        UnsupportedModelError: the tokenizer cannot be made of the files.
    """
    own = sorted(path.name for path in target.iterdir() if _TOKENIZER.fullmatch(path.name))
    # tekken is the newer of the two; of several sentencepiece models, the highest version comes last.
    chosen = next((name for name in own if name.startswith("tekken")), own[-1] if own else None)
    if chosen is None and not (target / "tokenizer.json").is_file():
        return None
    try:
        with quiet():
            if chosen is None:
                return transformers.PreTrainedTokenizerFast.from_pretrained(target, local_files_only=True)
            tokenizer = _common()(target / chosen)
    except MissingExtraError:
        raise
    except ImportError as error:
        raise _missing(error.name or "sentencepiece") from error
    except Exception as error:  # whatever a file can make the libraries raise
        raise UnsupportedModelError(
            f"{release}: its tokenizer {chosen or 'tokenizer.json'} cannot be read: "
            f"{str(error).strip().split(chr(10), 1)[0] or type(error).__name__}",
            hint="A newer mistral-common may know it: pip install -U mistral-common",
            architecture="",
        ) from error
    mark_chat(tokenizer)
    return tokenizer


def _common() -> Any:
    from transformers.utils.import_utils import is_mistral_common_available

    if not is_mistral_common_available():
        raise _missing("mistral-common")
    from transformers.tokenization_mistral_common import MistralCommonBackend

    return MistralCommonBackend


def _missing(package: str) -> MissingExtraError:
    return MissingExtraError(
        f"Reading Mistral's own tokenizers needs the Python package {package}, which is not installed or too old.",
        hint="Install it: pip install -U 'weightshare[mistral]'",
        package=package,
    )


def _transformers_name(name: str) -> str:
    for pattern, replacement in _NAMES:
        if match := pattern.fullmatch(name):
            return match.expand(replacement)
    raise UnsupportedModelError(
        f"The tensor {name} is of no kind that a Mistral or Mixtral has in its own layout.",
        hint="The release may hold more than a language model; Release.state_dict gives its tensors as they are.",
        architecture="",
        tensor=name,
    )


def _half_by_half(name: str, tensor: torch.Tensor, heads: int, head_dim: int) -> torch.Tensor:
    """Rows of wq or wk with each head's even rows before its odd ones.

    Args:
        name: the tensor's name, for messages.
        tensor: heads * head_dim rows.
        heads: how many heads.
        head_dim: rows of each.
    """
    if tensor.dim() != 2 or head_dim % 2 or tensor.shape[0] != heads * head_dim:
        raise UnsupportedModelError(
            f"The tensor {name} has the shape {list(tensor.shape)}; {PARAMS} says {heads} heads of {head_dim} rows.",
            hint="The publisher must publish the checkpoint again, with the params.json it was made with.",
            architecture="",
            tensor=name,
        )
    columns = tensor.shape[1]
    return tensor.view(heads, head_dim // 2, 2, columns).transpose(1, 2).reshape(heads * head_dim, columns)


def _experts(release: str, value: object) -> dict[str, int]:
    if not isinstance(value, dict) or value.keys() != {"num_experts", "num_experts_per_tok"}:
        raise _unknown(release, "moe says more or less than num_experts and num_experts_per_tok")
    return {
        "num_local_experts": _size(release, "moe.num_experts", value["num_experts"]),
        "num_experts_per_tok": _size(release, "moe.num_experts_per_tok", value["num_experts_per_tok"]),
    }


def _size(release: str, key: str, value: object) -> int:
    if type(value) is not int or not 0 < value < 2**31:
        raise _unknown(
            release, f"{key} is {'missing' if value is None else repr(value)[:80]}, and must be a size"
        )
    return value


def _number(release: str, key: str, value: object) -> float:
    if type(value) not in (int, float) or not 0 < value < 1e18:  # type: ignore[operator]
        raise _unknown(release, f"{key} is {repr(value)[:80]}, and must be a number above 0")
    return float(value)  # type: ignore[arg-type]


def _unknown(release: str, why: str) -> UnsupportedModelError:
    return UnsupportedModelError(
        f"{release}: {PARAMS} describes no Mistral or Mixtral that can be run here: {why}.",
        hint="Release.state_dict gives its tensors without a model around them.",
        architecture="",
    )
