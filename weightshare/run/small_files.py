"""What transformers may read of a release: config and tokenizer files, proven and copied into a folder of our own.

transformers reads by path, and what a path leads to can change between a proof and a reading. So each small
file is read once, proven, and written to a folder that only this user can enter; transformers sees that
folder alone. No program text is ever copied, and neither are weights.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from weightshare.content.self_description import named_kernel, objects_of
from weightshare.errors import UnsupportedModelError
from weightshare.load.proven import read_proven

if TYPE_CHECKING:
    from weightshare.manifest.model import Manifest

CONFIG = "config.json"
GENERATION_CONFIG = "generation_config.json"
TOKENIZER_CONFIG = "tokenizer_config.json"

MAX_PARTS = 4096
"""Most layers or experts that a config may ask for; the largest models have some hundred."""

MAX_LABELS = 1_000_000
"""Most labels."""

_COUNTS = re.compile(
    r"((num|n)_\w*(layer|block|expert|stage)s?|\w+_layers|layers|depths?)|(?P<labels>num_labels)"
)
_WANTED = re.compile(
    r"(config|generation_config|tokenizer[\w.-]*|special_tokens_map|added_tokens|chat_template[\w.-]*|vocab[\w.-]*)"
    r"\.json"
    r"|chat_template[\w.-]*\.jinja|additional_chat_templates/[\w.-]+\.jinja"
    r"|vocab[\w.-]*\.txt|merges\.txt|[\w.-]+\.(model|model\.v\d+\w*|spm|tiktoken|bpe)|tekken\.json"
)


def is_wanted(path: str) -> bool:
    """Whether transformers may need a file of this path to make a config or a tokenizer."""
    return bool(_WANTED.fullmatch(path))


@contextmanager
def proven_folder(manifest: Manifest, folder: Path, locations: Mapping[str, Path]) -> Iterator[Path]:
    """A private folder with the release's config and tokenizer files, gone when the block ends.

    Args:
        manifest: a verified one.
        folder: where the release's files lie.
        locations: where files really lie that the folder only links to.

    Raises:
        CorruptError: a file is not what was signed. Facts: `path`.
        CheckpointError: a file is too long to be what its name says.
        UnsupportedModelError: the release has no usable `config.json`, or it asks for code from the network.
    """
    with tempfile.TemporaryDirectory(prefix="weightshare-run-") as name:  # made with mode 0700
        target = Path(name)
        for entry in manifest.files:
            if not is_wanted(entry.path):
                continue
            data = read_proven(entry, folder, locations)
            if entry.path == TOKENIZER_CONFIG:
                data = _without_paths(data)
            path = target / entry.path
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
        yield target


def read_config(target: Path, release: str) -> dict[str, object]:
    """The model's configuration as it stands in a proven folder.

    Raises:
        UnsupportedModelError: there is none, it is no JSON object, or it asks for code from the network.
    """
    try:
        config = json.loads((target / CONFIG).read_bytes())
    except FileNotFoundError:
        config = None
    except (ValueError, RecursionError):
        config = ()
    if not isinstance(config, dict):
        found = "has none" if config is None else "has one that is no JSON object"
        raise UnsupportedModelError(
            f"{release}: running a model needs its {CONFIG}, and the release {found}.",
            hint="Release.state_dict gives its tensors without a model around them.",
            architecture="",
        )
    if kernel := named_kernel(config):
        raise UnsupportedModelError(
            f"{release}: {CONFIG} asks for code from the network, the kernel {kernel!r}.",
            hint="Only code that is installed here is run. Ask the publisher for a release without it.",
            architecture="",
            kernel=kernel,
        )
    if excess := _too_many(config):
        raise UnsupportedModelError(
            f"{release}: {CONFIG} says {excess[0]} = {excess[1]}, and no model has more than {excess[2]}.",
            hint="A program that believed it would fill the memory. Ask the publisher for a sound release.",
            architecture="",
        )
    return config


def _too_many(config: dict[str, object]) -> tuple[str, int, int] | None:
    """A number of parts beyond reason: name, number and limit. Modules are made for each before a weight is read."""
    for part in objects_of(config):
        for key, item in part.items():
            if not (kind := _COUNTS.fullmatch(str(key))):
                continue
            limit = MAX_LABELS if kind["labels"] else MAX_PARTS
            numbers = [n for n in (item if isinstance(item, list) else [item]) if isinstance(n, int)]
            if numbers and max(numbers) > limit:
                return str(key), max(numbers), limit
    return None


def _without_paths(data: bytes) -> bytes:
    """A tokenizer config without paths, which some tools leave in it: they would be opened as they are."""
    try:
        config = json.loads(data)
    except (ValueError, RecursionError):
        return data  # transformers will say what is wrong with it
    if not isinstance(config, dict):
        return data
    kept = {
        key: value for key, value in config.items() if not key.endswith("_file") and key != "name_or_path"
    }
    return data if len(kept) == len(config) else json.dumps(kept).encode()
