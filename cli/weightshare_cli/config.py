"""`config.toml` in the home folder: the user's own defaults.

One flat table, each key a long option without its dashes. Nothing that weakens a check may stand here
(`--trust`, `--allow-pickle`): such a choice belongs to one call. An unknown key is refused, since a typing
error in a bandwidth cap must not pass for a cap.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from weightshare.errors import UsageError

SETTINGS: dict[str, tuple[type, ...]] = {
    "network": (str,),
    "port": (int,),
    "dht-nodes": (str,),
    "max-down": (str, int),
    "max-up": (str, int),
    "timeout": (int, float),
    "key": (str,),
    "license": (str,),
}


def load(home: Path | None) -> dict[str, object]:
    """The defaults that the file sets, by click's parameter names; none if there is no file.

    Args:
        home: the folder named by the user, None for the default one.

    Raises:
        UsageError: the file is no TOML, or sets something it cannot.
    """
    from weightshare.content.store import Home

    return read(Home.default(home).config)


def read(path: Path) -> dict[str, object]:
    """The defaults in one file.

    Raises:
        UsageError: as for `load`.
    """
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not valid TOML: {error}.", path=str(path)) from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.", path=str(path)) from error
    for name, value in table.items():
        if name not in SETTINGS:
            raise UsageError(
                f"{path} sets {name!r}, which is no setting.",
                hint=f"It may set {', '.join(SETTINGS)}.",
                path=str(path),
            )
        if not isinstance(value, SETTINGS[name]) or isinstance(value, bool):
            kinds = " or ".join("text" if kind is str else "a number" for kind in SETTINGS[name][:2])
            raise UsageError(f"{path} sets {name!r} to {value!r}; expected {kinds}.", path=str(path))
    return {name.replace("-", "_"): value for name, value in table.items()}
