"""The base model of an adapter: named by the caller, or by the adapter's own configuration among what is here."""

from __future__ import annotations

import re
from pathlib import Path

from weightshare.api.offering import Located, locate
from weightshare.api.trusting import Trustee
from weightshare.content.store import Store
from weightshare.errors import ReleaseNotFoundError, UsageError
from weightshare.load.layouts import ADAPTER_CONFIG, layout_of

_NAME = re.compile(r"[\w.-]{1,100}/[\w.-]{1,100}")


def base_of(adapter: Located, named: str | Path | None, store: Store, trustee: Trustee) -> Located | None:
    """The release that an adapter belongs on, its manifest verified; None for what is no adapter.

    The name in an adapter's configuration is a name only: it is looked up among the releases that are here, and never
    as a path or on the network.

    Args:
        adapter: what is to be loaded.
        named: a release or a folder that the caller names.
        store: what is here.
        trustee: decides on the base's publisher.

    Raises:
        UsageError: a base is named for what is no adapter.
        ReleaseNotFoundError: the base is not here.
        WeightshareError: as `locate` does.
    """
    layout = layout_of([entry.path for entry in adapter.verified.manifest.files])
    if layout.kind != "adapter":
        if named is not None:
            raise UsageError(
                f"{adapter.verified.release} is {layout.what}, and needs no base.",
                hint="Leave --base out; it names the model that an adapter was made for.",
            )
        return None
    if named is not None:
        return locate(store, trustee, str(named))
    from weightshare.run.adapters import read_adapter_config

    config = read_adapter_config(adapter.verified.manifest, adapter.folder, adapter.locations)
    name = config.get("base_model_name_or_path")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ReleaseNotFoundError(
            f"{adapter.verified.release} is an adapter, and its {ADAPTER_CONFIG} does not say by name which model "
            "it was made for.",
            hint="Name the release: --base ORG/MODEL, or base=… in Python.",
            release="",
        )
    found = [record for record in store.records() if record.release.partition("@")[0] == name]
    if len(found) != 1:
        many = ", ".join(sorted(record.release for record in found))
        raise ReleaseNotFoundError(
            f"{adapter.verified.release} is an adapter for {name}, "
            + (f"and several such releases are here: {many}." if found else "and no such release is here."),
            hint="Name the one to use: --base RELEASE, or base=… in Python."
            if found
            else "Fetch it, or name another release or folder: --base RELEASE, or base=… in Python.",
            release=name,
        )
    return locate(store, trustee, str(found[0].path))
