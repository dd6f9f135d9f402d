"""The parts of transformers' own server that ours is made of, and a check that they are still what we take them for.

`transformers serve` is a program; its parts are no public interface. What we rely on is named here and nowhere else,
and looked at before anything is loaded, so that another version of transformers is an error with a hint and not a
server that answers with weights of its own choice.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from weightshare.errors import MissingExtraError, UnsupportedModelError

KNOWN = "5.19 to 5.23"
"""Versions of transformers that this was tried with."""

_ARGUMENTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "ModelManager.__init__": ("device", "dtype", "trust_remote_code", "model_timeout", "force_model"),
        "ModelManager.load_model_and_processor": ("self", "model_id_and_revision"),
        "ModelManager.process_model_name": ("model_id",),
        "ModelManager.get_gen_models": (),
        "ModelManager.shutdown": ("self",),
        "GenerationState.get_manager": ("self", "model_id", "use_cb"),
        "GenerateManager.generate_streaming": ("self", "model", "processor", "inputs", "gen_config"),
        "GenerateManager.generate_non_streaming": ("self", "model", "processor", "inputs", "gen_config"),
        "ChatCompletionHandler.__init__": ("model_manager", "generation_state"),
        "ChatCompletionHandler.handle_request": ("self", "body", "request_id"),
        "ChatCompletionHandler._build_generation_config": ("self", "body"),
        "CompletionHandler.__init__": ("model_manager", "generation_state"),
        "CompletionHandler.handle_request": ("self", "body", "request_id"),
        "CompletionHandler._build_generation_config": ("self", "body"),
        "build_server": ("model_manager", "chat_handler", "completion_handler", "generation_state"),
    }
)


@dataclass(frozen=True, slots=True)
class Parts:
    """Classes of `transformers.cli.serving`, and its `build_server`."""

    manager: Any
    state: Any
    generate: Any
    chat: Any
    completion: Any
    build_server: Any


def parts() -> Parts:
    """Import the parts, and see that they take and have what we use of them.

    Raises:
        MissingExtraError: a package that serving needs is not installed.
        UnsupportedModelError: this transformers has another server inside.
    """
    for name in ("fastapi", "uvicorn", "openai", "pydantic"):
        try:
            __import__(name)
        except ImportError as error:
            raise MissingExtraError(
                f"Serving needs the Python package {error.name or name}, which is not installed.",
                hint="Install it: pip install 'weightshare[serve]'",
                package=error.name or name,
            ) from error
    try:
        from transformers.cli.serving.chat_completion import ChatCompletionHandler
        from transformers.cli.serving.completion import CompletionHandler
        from transformers.cli.serving.model_manager import ModelManager
        from transformers.cli.serving.server import build_server
        from transformers.cli.serving.utils import GenerateManager, GenerationState
    except ImportError as error:
        raise _other(str(error)) from error
    found = Parts(
        ModelManager, GenerationState, GenerateManager, ChatCompletionHandler, CompletionHandler, build_server
    )
    if trouble := differences(found):
        raise _other(trouble[0])
    return found


def differences(found: Parts) -> list[str]:
    """What these parts lack of that which we use, one line each; empty where all is as it should be."""
    owners = {
        "ModelManager": found.manager,
        "GenerationState": found.state,
        "GenerateManager": found.generate,
        "ChatCompletionHandler": found.chat,
        "CompletionHandler": found.completion,
        "build_server": found.build_server,
    }
    lacking = []
    for path, wanted in _ARGUMENTS.items():
        owner, _, name = path.partition(".")
        function = getattr(owners[owner], name, None) if name else owners[owner]
        if function is None:
            lacking.append(f"{path} is not there")
            continue
        names = inspect.signature(function).parameters
        if missing := [word for word in wanted if word not in names]:
            lacking.append(f"{path} does not take {', '.join(missing)}")
    return lacking


def _other(reason: str) -> UnsupportedModelError:
    import transformers

    return UnsupportedModelError(
        f"transformers {transformers.__version__} has another server inside than weightshare knows: {reason}.",
        hint=f"Install a version that it knows ({KNOWN}), or serve with `--engine vllm`.",
        architecture="",
    )
