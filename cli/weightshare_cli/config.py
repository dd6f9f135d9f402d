"""`config.toml` in the home folder, as defaults of the command line's options."""

from __future__ import annotations

from pathlib import Path

from weightshare.config import SETTINGS, read_config

__all__ = ["SETTINGS", "load", "read"]


def load(home: Path | None) -> dict[str, object]:
    """The defaults that the file sets, by click's parameter names; none if there is no file.

    Args:
        home: the folder named by the user, None for the default one.

    Raises:
        UsageError: the file is no TOML, or sets something it cannot.
    """
    from weightshare.content.home import Home

    return read(Home.default(home).config)


def read(path: Path) -> dict[str, object]:
    """The defaults in one file.

    Raises:
        UsageError: as for `load`.
    """
    return {name.replace("-", "_"): value for name, value in read_config(path).settings.items()}
