"""Where the Hub is, who asks it, and where its cache lies, as the environment says at the time of the call.

huggingface_hub reads the same variables once, when it is imported; a library that is used for long, or under test,
would go on with what they were then. Names and precedence are those of its documentation, "Environment variables".
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from string import Template
from typing import Self
from urllib.parse import quote, urlsplit

from weightshare.errors import UsageError
from weightshare.manifest.text import quoted

PUBLIC_ENDPOINT = "https://huggingface.co"
"""The Hub, unless `HF_ENDPOINT` says otherwise."""
_TRUE = frozenset({"1", "ON", "YES", "TRUE"})
_MAX_TOKEN = 4096


@dataclass(frozen=True, slots=True)
class HubSettings:
    """One user's way to the Hub.

    Attributes:
        endpoint: URL without a slash at its end.
        cache: the folder of `models--ORG--MODEL` folders; need not exist.
        token: sent to the endpoint's own host only, None without one.
        offline: whether the Hub must not be asked.
    """

    endpoint: str
    cache: Path
    token: str | None = field(default=None, repr=False)
    offline: bool = False

    @classmethod
    def from_environment(cls, env: Mapping[str, str] | None = None) -> Self:
        """What the variables say.

        They are `HF_ENDPOINT`, `HF_TOKEN`, `HF_TOKEN_PATH`, `HF_HUB_CACHE`, `HF_HOME`, `HF_HUB_OFFLINE`, and the older
        names that huggingface_hub still heeds.

        Args:
            env: the variables; None takes this process's, as they are now.

        Raises:
            UsageError: `HF_ENDPOINT` is no URL, or holds a name or password.
        """
        env = os.environ if env is None else env
        home = _folder(env, "HF_HOME") or _xdg(env) / "huggingface"
        named = _folder(env, "HF_HUB_CACHE") or _folder(env, "HUGGINGFACE_HUB_CACHE")
        return cls(
            endpoint=_endpoint(env.get("HF_ENDPOINT") or PUBLIC_ENDPOINT),
            cache=named or home / "hub",
            token=_token(env, _folder(env, "HF_TOKEN_PATH") or home / "token"),
            offline=_true(env.get("HF_HUB_OFFLINE") or env.get("TRANSFORMERS_OFFLINE")),
        )

    @property
    def host(self) -> str:
        """The endpoint's host name."""
        return urlsplit(self.endpoint).hostname or ""

    def offline_too(self) -> Self:
        """The same, and the Hub must not be asked."""
        return replace(self, offline=True)

    def resolve_url(self, repo: str, revision: str, path: str) -> str:
        """Where the Hub serves one file of a repository of models.

        Args:
            repo: `ORG/MODEL`.
            revision: a commit, or the name of a branch or tag.
            path: in the repository, `/`-separated.
        """
        return f"{self.endpoint}/{quote(repo)}/resolve/{quote(revision, safe='')}/{quote(path)}"

    def repository(self, repo: str) -> Path:
        """The folder of a repository of models in the cache; need not exist."""
        return self.cache / "--".join(("models", *repo.split("/")))


def _endpoint(text: str) -> str:
    parts = urlsplit(text)
    unusual = parts.query or parts.fragment or any(ord(char) <= 32 for char in text)
    if parts.scheme not in ("http", "https") or not parts.hostname or unusual:
        raise UsageError(
            f"HF_ENDPOINT is {quoted(text)}, which is no web address.",
            hint=f"The public Hub: {PUBLIC_ENDPOINT}",
        )
    if "@" in parts.netloc:
        raise UsageError(
            "HF_ENDPOINT holds a name or password, which would be published.",
            hint="Put the token into HF_TOKEN.",
        )
    return text.rstrip("/")


def _folder(env: Mapping[str, str], name: str) -> Path | None:
    """A folder that a variable names, with `$OTHER` and `~` in it followed as huggingface_hub does."""
    text = env.get(name)
    return _at_home(Template(text).safe_substitute(env), env) if text else None


def _at_home(text: str, env: Mapping[str, str]) -> Path:
    home = env.get("HOME")
    if home and (text == "~" or text.startswith("~/")):
        return Path(home + text[1:])
    return Path(text).expanduser()


def _xdg(env: Mapping[str, str]) -> Path:
    return _at_home(env.get("XDG_CACHE_HOME") or "~/.cache", env)


def _true(value: str | None) -> bool:
    return value is not None and value.upper() in _TRUE


def _token(env: Mapping[str, str], place: Path) -> str | None:
    """The token as a variable or the file of `hf auth login` gives it; the variable wins."""
    if _true(env.get("HF_HUB_DISABLE_IMPLICIT_TOKEN")):
        return None
    said = _clean(env.get("HF_TOKEN") or env.get("HUGGING_FACE_HUB_TOKEN") or "")
    if said:
        return said
    try:
        with place.open("rb") as file:
            return _clean(file.read(_MAX_TOKEN).decode("ascii"))
    except (OSError, UnicodeDecodeError):
        return None


def _clean(text: str) -> str | None:
    """A token without the line breaks of copying; None if nothing is left, or it could not stand in a header."""
    text = text.replace("\r", "").replace("\n", "").strip()
    return text if text and text.isascii() and text.isprintable() else None
