"""In which order a model is built from its tensors, told by their names alone, whatever the architecture.

Embeddings come first, then the layers by the first whole number in their names (`model.layers.7.mlp.up_proj.weight`,
`h.7.attn.weight`, `blk.7.ffn_up.weight`), then the norm behind the last layer, then the head. Stacks that lie beside
each other, as an encoder and a decoder, advance together. What fits nowhere comes last. It is a guess that costs
nothing when it is wrong: all bytes are fetched in any case.
"""

from __future__ import annotations

import re

_HEAD = re.compile(r"(lm_head|embed_out|output|score|classifier|logits?)\d*")
_EMBEDDING = re.compile(r".*embed.*|wte|wpe|shared")
_NORM = re.compile(r".*norm.*|ln_?f")
_SEPARATORS = re.compile(r"[./_]")

_EMBEDDINGS, _LAYERS, _NORMS, _HEADS, _REST = range(5)


def place_of(name: str) -> tuple[int, int]:
    """Where in a model's building a tensor of this name comes: tuples to sort by; equal ones belong together."""
    number = next((part for part in _SEPARATORS.split(name) if part.isascii() and part.isdigit()), None)
    if number is not None:
        return _LAYERS, int(number[:18])
    words = name.lower().split(".")
    if any(_HEAD.fullmatch(word) for word in words):
        return _HEADS, 0
    if any(_EMBEDDING.fullmatch(word) for word in words):
        return _EMBEDDINGS, 0
    if any(_NORM.fullmatch(word) for word in words):
        return _NORMS, 0
    return _REST, 0
