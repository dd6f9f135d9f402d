"""transformers' OpenAI-compatible server around one proven model, and around nothing else.

The server's own model manager loads what a request names, from the Hub or any folder. Ours has one model, which is
there already, and loads none. Of the server's routes those stay that answer with it; those that load, unload or
transcribe are taken out.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from datetime import datetime
from typing import TYPE_CHECKING, Any

from weightshare.errors import UnsupportedModelError, WeightshareError
from weightshare.run.server_parts import Parts, parts

if TYPE_CHECKING:
    from weightshare.run.transformers_runner import Runner

ROUTES = frozenset({"/v1/chat/completions", "/v1/completions", "/v1/models", "/health"})
_NEVER = ("generation_config",)


class Service:
    """One model that answers to one name, for as long as the files behind it are what was proven.

    Attributes:
        name: what requests call the model.
        runner: the model.
        failure: why it stopped answering; None while all is well.
    """

    def __init__(self, runner: Runner, name: str, released: str) -> None:
        self.name = name
        self.runner = runner
        self.failure: WeightshareError | None = None
        self._created = int(datetime.fromisoformat(released).timestamp())
        self._fixed = frozenset(inspect.signature(runner.tokenizer.apply_chat_template).parameters)  # type: ignore[union-attr]

    def check(self) -> None:
        """Raise if the files behind a mapping changed; once it did, nothing is answered any more.

        Raises:
            CorruptError, CheckpointError: the files changed.
        """
        if self.failure is not None:
            raise self.failure
        try:
            self.runner.state.check()
        except WeightshareError as error:
            self.failure = error
            raise

    def listed(self) -> list[dict[str, object]]:
        """The one model, as `/v1/models` lists it."""
        owner = self.runner.release.partition("/")[0]
        return [{"id": self.name, "object": "model", "created": self._created, "owned_by": owner}]

    def admit(self, body: dict[str, Any]) -> None:
        """Refuse a request for another model, and what is no request for text.

        Raises:
            Refusal: with the HTTP status.
        """
        named = body.get("model", self.name)
        if named != self.name:
            raise Refusal(404, f"There is no model {named!r} here, only {self.name!r}.")
        body["model"] = self.name
        for field in _NEVER:
            if field in body:
                raise Refusal(400, f"The field {field!r} is not taken.")
        if not isinstance(template := body.get("chat_template_kwargs", {}), dict) or self._fixed & set(
            template
        ):
            raise Refusal(400, "chat_template_kwargs may only hold variables of the model's own template.")
        if "messages" in body:
            _check_messages(body["messages"])
        elif "prompt" not in body:
            raise Refusal(400, "The request has neither messages nor a prompt.")


class Refusal(Exception):  # noqa: N818  it says no to a request, and is nobody's error
    """A request that gets no answer.

    Attributes:
        status: the HTTP status.
        reason: for who asked.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


def application(runner: Runner, name: str, released: str) -> tuple[Any, Service]:
    """Build the server's application around a model.

    Args:
        runner: the model, loaded.
        name: what `/v1/models` and requests call it.
        released: when the release was made, RFC 3339; what `/v1/models` says of its age.

    Returns:
        An ASGI application, and the service behind it.

    Raises:
        UnsupportedModelError: the model does not generate text, has no tokenizer that streams, or transformers has
            another server inside than we know.
        MissingExtraError: a package that serving needs is not installed.
    """
    found = parts()
    kind = type(runner.model).__name__
    if not runner.model.can_generate():
        raise UnsupportedModelError(
            f"{runner.release} is a {kind}: it turns text into vectors or scores, and does not generate text.",
            hint="In Python: model, tokenizer = weightshare.from_pretrained(…)",
            architecture=kind,
        )
    if not hasattr(runner.tokenizer, "_tokenizer"):
        raise UnsupportedModelError(
            f"{runner.release} has no tokenizer that transformers' server can stream with.",
            hint="`weightshare run` may still answer, or `weightshare serve --engine vllm`.",
            architecture=kind,
        )
    service = Service(runner, name, released)
    manager = _manager(found, service)
    state = _state(found)
    handlers = {
        "model_manager": manager,
        "generation_state": state,
        "chat_handler": _guarded(found.chat, service)(model_manager=manager, generation_state=state),
        "completion_handler": _guarded(found.completion, service)(
            model_manager=manager, generation_state=state
        ),
    }
    wanted = inspect.signature(found.build_server).parameters.values()
    app = found.build_server(
        **{p.name: handlers.get(p.name) for p in wanted if p.name in handlers or p.default is p.empty}
    )
    # Changed in place: the application's router keeps this very list.
    app.router.routes[:] = [route for route in app.router.routes if getattr(route, "path", "") in ROUTES]
    return app, service


def problem(status: int, reason: str, kind: str = "invalid_request_error") -> Any:
    """An error as OpenAI's clients read it."""
    from fastapi.responses import JSONResponse

    return JSONResponse({"error": {"message": reason, "type": kind, "param": None, "code": None}}, status)


def _manager(found: Parts, service: Service) -> Any:
    class OneModel(found.manager):  # type: ignore[name-defined, misc]
        """A model manager with one model, which never loads and never unloads."""

        def __init__(self) -> None:
            super().__init__(device="cpu", dtype=None, trust_remote_code=False, model_timeout=-1)
            self.force_model = service.name

        def process_model_name(self, model_id: str) -> str:
            return model_id

        def load_model_and_processor(
            self, model_id_and_revision: str, *_: object, **__: object
        ) -> tuple[Any, Any]:
            if model_id_and_revision != service.name:
                raise Refusal(404, f"There is no model {model_id_and_revision!r} here.")
            return service.runner.model, service.runner.tokenizer

        def get_gen_models(self, *_: object, **__: object) -> list[dict[str, object]]:
            return service.listed()

        def shutdown(self) -> None:
            """The model is its owner's to let go."""

    return OneModel()


def _state(found: Parts) -> Any:
    class Bounded(found.generate):  # type: ignore[name-defined, misc]
        """Generation that ends where the model's context does."""

        def generate_streaming(
            self, model: Any, processor: Any, inputs: Any, gen_config: Any, *more: Any, **named: Any
        ) -> Any:
            bound(model, inputs, gen_config)
            return super().generate_streaming(model, processor, inputs, gen_config, *more, **named)

        async def generate_non_streaming(
            self, model: Any, processor: Any, inputs: Any, gen_config: Any, *more: Any, **named: Any
        ) -> Any:
            bound(model, inputs, gen_config)
            return await super().generate_non_streaming(model, processor, inputs, gen_config, *more, **named)

    class OneState(found.state):  # type: ignore[name-defined, misc]
        """One generation after the other, in one thread."""

        def __init__(self) -> None:
            super().__init__()
            self._only = Bounded()

        def get_manager(self, model_id: str, use_cb: bool = False) -> Any:
            return self._only

    return OneState()


def bound(model: Any, inputs: Any, gen_config: Any) -> None:
    """Keep prompt and answer within the model's context, and greedy generation free of sampling's settings.

    Raises:
        Refusal: the prompt alone fills it, or there is nothing to continue.
    """
    prompt = int(inputs["input_ids"].shape[-1])
    if not prompt:
        raise Refusal(400, "The prompt is empty.")
    if (gen_config.max_new_tokens or 0) < 1:
        raise Refusal(400, f"{gen_config.max_new_tokens} tokens are none to wait for.")
    limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if isinstance(limit, int) and limit > 0:
        if prompt >= limit:
            raise Refusal(
                400, f"The prompt has {prompt} tokens; the model takes {limit} with the answer. Shorten it."
            )
        gen_config.max_new_tokens = min(gen_config.max_new_tokens, limit - prompt)
    if not gen_config.do_sample:
        gen_config.temperature = gen_config.top_p = gen_config.top_k = None


def _guarded(handler: Any, service: Service) -> Callable[..., Any]:
    from fastapi import HTTPException
    from fastapi.responses import StreamingResponse

    class Guarded(handler):  # type: ignore[misc]
        """A handler that refuses what it must, checks the files before and after, and never shows a stack of frames."""

        async def handle_request(self, body: dict[str, Any], request_id: str) -> Any:
            try:
                service.check()
                service.admit(body)
                response = await super().handle_request(body, request_id)
                service.check()
            except WeightshareError as error:
                return problem(503, f"{error.message} Nothing is answered any more.", "server_error")
            except Refusal as no:
                return problem(no.status, no.reason)
            except HTTPException as error:
                return problem(error.status_code, str(error.detail))
            except (KeyError, TypeError, ValueError) as error:
                return problem(400, f"The request cannot be answered: {_line(error)}")
            except Exception as error:  # the edge to generation: whatever a model can raise
                return problem(500, f"The model failed: {_line(error)}", "server_error")
            if isinstance(response, StreamingResponse):
                response.body_iterator = _checked(response.body_iterator, service)
            return response

        def _build_generation_config(self, body: dict[str, Any], *more: Any, **named: Any) -> Any:
            """As the server does it; a temperature or top_p of the request's own also means that dice are thrown."""
            made = super()._build_generation_config(body, *more, **named)
            if body.get("temperature") != 0 and (body.get("temperature") or body.get("top_p")):
                made.do_sample = True
            return made

    return Guarded


async def _checked(chunks: Any, service: Service) -> AsyncIterator[Any]:
    """The chunks of an answer, each handed on after a look at the files; the last one says that they are over."""
    async with aclosing(chunks):
        async for chunk in chunks:
            try:
                service.check()
            except WeightshareError as error:
                yield f"data: {problem(503, error.message, 'server_error').body.decode()}\n\n"
                return
            yield chunk
    yield "data: [DONE]\n\n"


def _check_messages(messages: object) -> None:
    if not isinstance(messages, list) or not messages:
        raise Refusal(400, "messages is no list of messages.")
    for message in messages:
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise Refusal(400, "A message is an object with a role and a content.")
        content = message.get("content")
        for part in content if isinstance(content, list) else []:
            if not isinstance(part, dict) or part.get("type") != "text":
                raise Refusal(400, "Only text is answered: a part of a message is of another type.")


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
