"""One publisher a user knows, and the line of the file that says so.

    acme namespaces="weightshare" models="acme/*" added=2026-11-22 via="github:acme" ssh-ed25519 AAAA…

The line is close to OpenSSH's `allowed_signers`. A pin by fingerprint alone ends in `SHA256:…` instead of a
key. `@revoked` in front says the key must not be believed any more; such a line may lack the name. `highest`
is what was last seen of each model, to notice a rollback. `namespaces` says what the key is believed for: releases
(`weightshare`), countersignatures (`weightshare-mirror`), or both; neither follows from the other.

A team's line names its newest root and ends in the team's identity; a publisher who signs with two kinds of key
has the fingerprint of the second in `post-quantum`:

    acme namespaces="weightshare" models="*" root="roots/acme/3.root.json" was="SHA256:…" SHA256:…
    nova namespaces="weightshare" models="*" post-quantum="SHA256:…" ssh-ed25519 AAAA…
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from fnmatch import fnmatchcase
from types import MappingProxyType

from weightshare.errors import PinError, WeightshareError
from weightshare.manifest.statement import FINGERPRINT, NAME
from weightshare.manifest.text import quoted, unsafe_character
from weightshare.trust.key_types import KEY_TYPE
from weightshare.trust.keys import PublicKey, parse_fingerprint
from weightshare.trust.teams import Team
from weightshare.units import MAX_JSON_INTEGER

NAMESPACE = "weightshare"
"""What a publisher's key is believed for: its releases."""

MIRROR_NAMESPACE = "weightshare-mirror"
"""What a mirror's key is believed for: its countersignatures, and no release."""

_GLOB = re.compile(r"[A-Za-z0-9._/*?\[\]!-]{1,200}")
_MODEL_ID = re.compile(r"[A-Za-z0-9._-]{1,96}/[A-Za-z0-9._-]{1,96}")
_ROOT = re.compile(r"roots/[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[1-9][0-9]{0,9}\.root\.json")
_SINCE = re.compile(r"\s+since=(\d{4}-\d{2}-\d{2})\Z", re.ASCII)
_OPTION = re.compile(r'([a-z-]+)=("[^"]*"|[^\s"]+)(?:\s+|\Z)')


@dataclass(frozen=True, slots=True)
class Pin:
    """A publisher the user knows.

    Attributes:
        name: what the user calls them; empty only for a revoked key.
        fingerprint: `SHA256:…` of their key.
        key: the key, None when pinned by fingerprint alone (a release then brings it along).
        models: globs of model ids they may publish; `*` crosses `/`.
        added: the day they were pinned.
        via: how the user came by the key: `github:acme`, `fetch`.
        revoked: whether the key must not be believed.
        highest: the highest sequence seen, by model id.
        post_quantum: fingerprint of the ML-DSA-44 key that must sign too; empty if there is none.
        root: where a team's newest root lies, relative to the file of pins; empty for a single key.
        was: fingerprint of the single key that became the team; empty if there was none.
        team: the team, once its roots were read; the line itself does not hold it.
        namespaces: what the key is believed for: `weightshare`, `weightshare-mirror`, or both in this order.
    """

    name: str
    fingerprint: str
    key: PublicKey | None = None
    models: tuple[str, ...] = ("*",)
    added: date = date.min
    via: str = ""
    revoked: bool = False
    highest: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    post_quantum: str = ""
    root: str = ""
    was: str = ""
    team: Team | None = None
    namespaces: tuple[str, ...] = (NAMESPACE,)

    def __post_init__(self) -> None:
        problem = self._problem()
        if problem is not None:
            raise PinError(f"The publisher {quoted(self.name, 60)} cannot be pinned: {problem}.")

    def _problem(self) -> str | None:
        if not NAME.fullmatch(self.name) and not (self.revoked and not self.name):
            return "a name has letters, digits and . _ -, and begins with a letter or digit"
        if not FINGERPRINT.fullmatch(self.fingerprint):
            return f"{quoted(self.fingerprint, 60)} is no fingerprint"
        for fingerprint in filter(None, (self.post_quantum, self.was)):
            if not FINGERPRINT.fullmatch(fingerprint):
                return f"{quoted(fingerprint, 60)} is no fingerprint"
        if self.root and (not _ROOT.fullmatch(self.root) or self.key is not None):
            return f"{quoted(self.root, 60)} is no team's root (roots/NAME/1.root.json)"
        if self.team is not None and (self.team.fingerprint, self.root) != (self.fingerprint, self.root_path):
            return "the team is another one"
        if self.root and self.mirrors:
            return "a team has no key of its own to countersign with; a mirror is pinned by its key"
        if self.key is not None and self.key.fingerprint != self.fingerprint:
            return f"the fingerprint {self.fingerprint} is not its key's, {self.key.fingerprint}"
        if not self.models or not all(_GLOB.fullmatch(glob) for glob in self.models):
            return "models are globs such as acme/*"
        if '"' in self.via or unsafe_character(self.via):
            return "its origin holds a quote or a control character"
        for model, sequence in self.highest.items():
            if not _MODEL_ID.fullmatch(model) or not 0 <= sequence <= MAX_JSON_INTEGER:
                return f"{quoted(model, 60)}={sequence} is no model and sequence"
        if not self.namespaces or self.namespaces != known_namespaces(self.namespaces):
            return f"it is for neither {NAMESPACE} nor {MIRROR_NAMESPACE}"
        return None

    @property
    def root_path(self) -> str:
        """Where the newest root of the pin's team belongs."""
        return root_path(self.name, self.team.version) if self.team is not None else ""

    def covers(self, model_id: str) -> bool:
        """Whether the publisher is trusted for this model."""
        return any(fnmatchcase(model_id, glob) for glob in self.models)

    def with_team(self, team: Team) -> Pin:
        """The same publisher as this team, or as its newer roots say."""
        was = self.was or ("" if self.fingerprint == team.fingerprint else self.fingerprint)
        return replace(
            self,
            fingerprint=team.fingerprint,
            key=None,
            post_quantum="",
            root=root_path(self.name, team.version),
            was=was,
            team=team,
            # What a single key was pinned for besides does not pass to a team, which countersigns nothing.
            namespaces=(NAMESPACE,),
        )

    @property
    def publishes(self) -> bool:
        """Whether releases signed by the key are believed."""
        return NAMESPACE in self.namespaces

    @property
    def mirrors(self) -> bool:
        """Whether countersignatures by the key count."""
        return MIRROR_NAMESPACE in self.namespaces

    def render(self) -> str:
        """The pin as a line of the file, without its line feed."""
        words = ["@revoked"] if self.revoked else []
        if self.name:
            words.append(self.name)
        words += [f'namespaces="{",".join(self.namespaces)}"', f'models="{",".join(self.models)}"']
        if self.added != date.min:
            words.append(f"added={self.added.isoformat()}")
        if self.via:
            words.append(f'via="{self.via}"')
        if self.highest:
            seen = ",".join(f"{model}={sequence}" for model, sequence in sorted(self.highest.items()))
            words.append(f'highest="{seen}"')
        for option, value in (("post-quantum", self.post_quantum), ("root", self.root), ("was", self.was)):
            if value:
                words.append(f'{option}="{value}"')
        words.append(self.key.openssh if self.key is not None else self.fingerprint)
        return " ".join(words)

    @classmethod
    def parse(cls, line: str) -> Pin:
        """Read one line.

        Raises:
            ValueError: it is malformed; the text says how.
        """
        try:
            return _parse(line.strip())
        except WeightshareError as error:
            raise ValueError(error.message.rstrip(".")) from error


def root_path(name: str, version: int) -> str:
    """Where a root is kept, relative to the file of pins."""
    return f"roots/{name}/{version}.root.json"


def known_namespaces(names: Iterable[str]) -> tuple[str, ...]:
    """Those of the names that mean something here, each once, in the order they are written in."""
    held = set(names)
    return tuple(name for name in (NAMESPACE, MIRROR_NAMESPACE) if name in held)


def _parse(line: str) -> Pin:
    marker = re.match(r"@(\S*)\s*", line)
    if marker is not None and marker[1] != "revoked":
        raise ValueError(f"the marker {quoted(marker[0].strip(), 20)} is unknown; there is only @revoked")
    rest = line[marker.end() :] if marker is not None else line
    name = ""
    first = rest.partition(" ")[0]
    if "=" not in first and first != KEY_TYPE and not first.startswith(("SHA256:", "sk-", "ssh-", "ecdsa-")):
        name, rest = first, rest[len(first) :].lstrip()
    options: dict[str, str] = {}
    while match := _OPTION.match(rest):
        if match[1] in options:
            raise ValueError(f"{match[1]} is there twice")
        options[match[1]] = match[2].removeprefix('"').removesuffix('"')
        rest = rest[match.end() :]
    fingerprint, key, since = _key(rest.strip())
    if since and "added" not in options:
        options["added"] = since
    namespaces = known_namespaces(options.pop("namespaces", NAMESPACE).split(","))
    if not namespaces:
        raise ValueError(f'the key is for neither namespaces="{NAMESPACE}" nor "{MIRROR_NAMESPACE}"')
    pin = Pin(
        name=name,
        fingerprint=fingerprint,
        key=key,
        models=tuple(options.pop("models", "*").split(",")),
        added=date.fromisoformat(options.pop("added", date.min.isoformat())),
        via=options.pop("via", ""),
        revoked=marker is not None,
        highest=MappingProxyType(_highest(options.pop("highest", ""))),
        post_quantum=options.pop("post-quantum", ""),
        root=options.pop("root", ""),
        was=options.pop("was", ""),
        namespaces=namespaces,
    )
    if options:
        raise ValueError(f"the option {quoted(next(iter(options)), 30)} is unknown")
    return pin


def _key(text: str) -> tuple[str, PublicKey | None, str]:
    """Fingerprint, key and the date of a `since=` that stands where a comment would."""
    match = _SINCE.search(text)
    since = match[1] if match else ""
    text = text[: match.start()] if match else text
    if text.startswith("SHA256:"):
        return parse_fingerprint(text), None, since
    key = PublicKey.parse(text)
    return key.fingerprint, key, since


def _highest(text: str) -> dict[str, int]:
    seen: dict[str, int] = {}
    for item in filter(None, text.split(",")):
        model, _, sequence = item.partition("=")
        if not re.fullmatch(r"[0-9]{1,16}", sequence) or model in seen:
            raise ValueError(f"{quoted(item, 60)} in highest is no model=sequence, or there twice")
        seen[model] = int(sequence)
    return seen
