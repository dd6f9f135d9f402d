"""From a release's layout to what a model is built from, out of proven small files and before any weight is read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from weightshare.errors import UnsupportedModelError
from weightshare.load.layouts import PARAMS, Layout, layout_of
from weightshare.load.proven import read_proven
from weightshare.run.building import Blueprint, read_blueprint
from weightshare.run.small_files import proven_folder, read_config

if TYPE_CHECKING:
    from weightshare.manifest.model import Manifest


def blueprint_of(manifest: Manifest, folder: Path, locations: Mapping[str, Path]) -> Blueprint:
    """What a release's small files say of the model to build.

    Args:
        manifest: a verified one.
        folder: where the release's files lie.
        locations: where files really lie that the folder only links to.

    Raises:
        CorruptError: a file is not what was signed.
        UnsupportedModelError: a layout that is no single model, or a model that cannot be built here.
        MissingExtraError: the layout needs a package that is not installed.
    """
    layout = layout_of([entry.path for entry in manifest.files])
    if layout.kind in ("diffusers", "adapter", "gguf"):
        raise _no_model(manifest, layout)
    with proven_folder(manifest, folder, locations) as target:
        if layout.kind != "mistral":
            return read_blueprint(target, read_config(target, manifest.release), manifest.release)
        from weightshare.run.mistral_native import read_params, read_tokenizer

        entry = next(entry for entry in manifest.files if entry.path == PARAMS)
        params = read_params(read_proven(entry, folder, locations), manifest.release)
        tokenizer = read_tokenizer(target, manifest.release)
        return Blueprint(params.model_class, params.config, tokenizer, None, params.renamed)


def _no_model(manifest: Manifest, layout: Layout) -> UnsupportedModelError:
    hints = {
        "diffusers": "In Python: weightshare.open(…).state_dict(component=…), for each of "
        + (", ".join(layout.components) or "its folders"),
        "adapter": "Name the model it was made for: --base RELEASE, or base=… in Python.",
        "gguf": "Give the proven file to a program that reads GGUF.",
    }
    return UnsupportedModelError(
        f"{manifest.release} is {layout.what}, and no model that answers by itself.",
        hint=hints[layout.kind],
        architecture="",
        layout=layout.kind,
    )
