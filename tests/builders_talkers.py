"""Tiny random models that talk: words w0 to w127, greedy answers that never end by themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers

TEMPLATE = (
    "{% for m in messages %}"
    "{{ {'system': 'w7', 'user': 'w5', 'assistant': 'w6'}[m.role] }} {{ m.content }} "
    "{% endfor %}w6"
)


def talker(folder: Path, *, template: str | None = TEMPLATE, context: int = 4096) -> Path:
    """A Llama of two layers in several shards, with its tokenizer.

    Args:
        folder: made.
        template: its chat template; None for a model that continues text.
        context: longest conversation, in words.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers

    with torch.random.fork_rng():
        torch.manual_seed(0)
        config: Any = transformers.LlamaConfig(
            vocab_size=128,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=context,
            initializer_range=0.7,  # large enough for an answer to hang on all that was said
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=0,
        )
        model: Any = transformers.LlamaForCausalLM(config)
    # No answer ends by itself, so that a test can stop one: there is always a word likelier than the end of text.
    model.lm_head.weight.data[2] = 0
    model.to(torch.bfloat16).save_pretrained(folder, max_shard_size=40_000)
    tokenizer = Tokenizer(models.WordLevel({f"w{i}": i for i in range(128)}, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    wrapped: Any = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="w0", eos_token="w2"
    )
    if template is not None:
        wrapped.chat_template = template
    wrapped.save_pretrained(folder)
    return folder
