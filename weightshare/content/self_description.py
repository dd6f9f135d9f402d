"""What a release says of the model in its small files: the architecture, code that it names, chat templates.

Bytes in, facts out; nothing here runs or imports anything that a release names. What it says is a claim to be shown
before anybody loads it: that the bytes are the signed ones is for the caller to prove.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from weightshare.units import MIB

MAX_FILE = 2 * MIB
"""Largest file that is looked at: configurations take a few KiB, with a large added vocabulary a MiB."""

MAX_ALL = 4 * MIB
"""Largest sum of them."""

_TELLING = re.compile(
    r"(config|tokenizer_config|generation_config|processor_config|(video_)?preprocessor_config|adapter_config"
    r"|model_index|params|chat_template)\.json"
    r"|chat_template\.jinja|additional_chat_templates/[\w.-]+\.jinja"
)
_KERNELS = re.compile(r"_?(attn|experts)_implementation")
_CODE_KEYS = ("auto_map", "custom_pipelines")


@dataclass(frozen=True, slots=True)
class NamedCode:
    """Program text that a configuration asks for: `what` for, `where` it is, and in which file, `path`, it says so."""

    what: str
    where: str
    path: str


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """A program in the template language Jinja that turns messages into a prompt.

    Attributes:
        name: `default` unless the release has several.
        path: the file it stands in.
        text: all of it, exactly.
    """

    name: str
    path: str
    text: str


@dataclass(frozen=True, slots=True)
class SelfDescription:
    """What the small files say.

    Attributes:
        read: the files that were looked at.
        architectures: the model classes that `config.json` names, the first is the one that is made.
        model_type: the family it names, empty if none.
        code: what configurations want to have run; never run here.
        kernel: the kernel repository that `config.json` names, which transformers would download; empty if none.
        templates: chat templates.
        problems: files that are not what their names say.
    """

    read: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    model_type: str = ""
    code: tuple[NamedCode, ...] = ()
    kernel: str = ""
    templates: tuple[ChatTemplate, ...] = ()
    problems: tuple[str, ...] = ()


def telling(sizes: Mapping[str, int]) -> tuple[list[str], list[str]]:
    """Which files of a release are worth reading for it, and which would be but for their size.

    Args:
        sizes: bytes of every file, by path.
    """
    chosen, too_long, total = [], [], 0
    for path, size in sorted(sizes.items(), key=lambda item: (item[1], item[0])):
        if not _TELLING.fullmatch(path) or not size:
            continue
        if size > MAX_FILE or total + size > MAX_ALL:
            too_long.append(path)
        else:
            chosen.append(path)
            total += size
    return sorted(chosen), sorted(too_long)


def describe(files: Mapping[str, bytes]) -> SelfDescription:
    """Put together what these files say.

    Args:
        files: content by path; others than `telling` chooses are ignored.
    """
    tables: dict[str, dict[str, object]] = {}
    templates: list[ChatTemplate] = []
    problems: list[str] = []
    for path, data in sorted(files.items()):
        if not _TELLING.fullmatch(path):
            continue
        if path.endswith(".jinja"):
            name = (
                "default" if path == "chat_template.jinja" else path.rpartition("/")[2].removesuffix(".jinja")
            )
            templates.append(ChatTemplate(name, path, data.decode("utf-8", "backslashreplace")))
            continue
        table = _table(data)
        if table is None:
            problems.append(f"{path} is not a JSON object")
            continue
        tables[path] = table
        templates += _templates(path, table.get("chat_template"))
    config = tables.get("config.json", {})
    named = config.get("architectures")
    model_type = config.get("model_type")
    return SelfDescription(
        read=tuple(sorted(path for path in files if _TELLING.fullmatch(path))),
        architectures=tuple(name for name in named if isinstance(name, str))
        if isinstance(named, list)
        else (),
        model_type=model_type if isinstance(model_type, str) else "",
        code=tuple(code for path, table in tables.items() for code in _code(path, table)),
        kernel=named_kernel(config),
        templates=tuple(templates),
        problems=tuple(problems),
    )


def objects_of(config: object) -> Iterator[dict[str, object]]:
    """All objects in some JSON, the outer ones first, however deep they lie."""
    level: list[object] = [config]
    while level:
        deeper: list[object] = []
        for value in level:
            if isinstance(value, list):
                deeper += value
            elif isinstance(value, dict):
                yield value
                deeper += value.values()
        level = deeper


def named_kernel(config: object) -> str:
    """The kernel repository that a configuration names anywhere, which transformers would download and run.

    Args:
        config: JSON, however deep.

    Returns:
        `owner/name`, or an empty text.
    """
    for part in objects_of(config):
        for key, item in part.items():
            if _KERNELS.fullmatch(str(key)):
                named = list(item.values()) if isinstance(item, dict) else [item]
                if found := next((text for text in named if isinstance(text, str) and "/" in text), ""):
                    return found
    return ""


def _table(data: bytes) -> dict[str, object] | None:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _templates(path: str, value: object) -> Iterator[ChatTemplate]:
    """One text, or a list of `{name, template}`, or an object from name to text."""
    if isinstance(value, str):
        yield ChatTemplate("default", path, value)
        return
    pairs: list[tuple[object, object]] = []
    if isinstance(value, dict):
        pairs = list(value.items())
    elif isinstance(value, list):
        pairs = [(item.get("name"), item.get("template")) for item in value if isinstance(item, dict)]
    for name, text in pairs:
        if isinstance(name, str) and isinstance(text, str):
            yield ChatTemplate(name, path, text)


def _code(path: str, table: Mapping[str, object]) -> Iterator[NamedCode]:
    for key in _CODE_KEYS:
        for what, where in _texts(table.get(key), key):
            yield NamedCode(what, where, path)


def _texts(value: object, what: str) -> Iterator[tuple[str, str]]:
    """Every text in a table, with the name it stands under; two levels are all that these tables have."""
    if isinstance(value, str):
        yield what, value
    elif isinstance(value, list):
        yield from ((what, item) for item in value if isinstance(item, str))
    elif isinstance(value, dict):
        for name, item in value.items():
            if isinstance(item, dict):
                yield from (
                    (str(name), text) for text in item.values() if isinstance(text, str) and "." in text
                )
            elif isinstance(item, list):
                yield from ((str(name), text) for text in item if isinstance(text, str))
            elif isinstance(item, str):
                yield str(name), item
