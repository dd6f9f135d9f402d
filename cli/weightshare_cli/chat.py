"""Talking to a release on a terminal.

Ctrl-C while an answer comes ends the answer; the chat goes on with what was said. Ctrl-C while a line is typed drops
the line, and a second one in a row ends the program as an interrupted one (exit 130). Ctrl-D and `/exit` end it as a
finished one (exit 0). SIGTERM and SIGHUP end it whatever it does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from weightshare.errors import UsageError
from weightshare.progress import Observer
from weightshare_cli import errors, output, progress
from weightshare_cli.chat_lines import Lines
from weightshare_cli.ctrl_c import AtPromptError, caught, raising
from weightshare_cli.options import Settings
from weightshare_cli.writing import Writer

if TYPE_CHECKING:
    from weightshare.api.running import OpenRunner
    from weightshare_cli.answering import Answering

COMMANDS = {
    "/help": "what can be typed here",
    "/clear": "forget the conversation so far",
    "/system TEXT": "tell the model who it is; alone, show what it was told",
    "/exit": "end; so does Ctrl-D",
}


def chat(settings: Settings, open_runner: Callable[[Observer], OpenRunner], answering: Answering) -> None:
    """Load the release once and answer each message, until the end of input.

    Raises:
        KeyboardInterrupt: Ctrl-C while it loads, or twice at the prompt.
        WeightshareError: as `open_runner` and generating do, a message that cannot be answered aside.
    """
    with progress.reporter(settings) as observe, open_runner(observe) as runner:
        observe.stop()
        settings.last = None  # an interruption from now on is none of the loading
        if answering.system is not None and not runner.chat:
            raise _no_template()
        Chat(settings, runner, answering, observe).talk()


class Chat:
    """One conversation."""

    def __init__(
        self, settings: Settings, runner: OpenRunner, answering: Answering, observe: progress.Reporter
    ) -> None:
        self._settings = settings
        self._runner = runner
        self._answering = answering
        self._observe = observe
        self._system = answering.system
        self._said: list[dict[str, str]] = []
        self._warned = False

    def talk(self) -> None:
        """Read and answer until the input ends.

        Raises:
            KeyboardInterrupt: Ctrl-C twice at the prompt.
        """
        if not self._settings.quiet:
            output.note(f"{self._runner.release} on {self._runner.device}; /help for help, Ctrl-D ends")
            if not self._runner.chat:
                output.note("It has no chat template: it continues each text, and remembers none.")
        lines = Lines([name.split()[0] for name in COMMANDS])
        dropped = False
        while True:
            try:
                with raising(AtPromptError):
                    message = lines.message()
            except AtPromptError:
                output.tell("")
                if dropped:
                    raise
                dropped = True
                output.note("Ctrl-C again, Ctrl-D or /exit ends the chat.")
                continue
            dropped = False
            if message is None or message.strip() == "/exit":
                return
            if message.startswith("/"):
                self._obey(*message.split(None, 1))
            elif message.strip():
                self._answer(message)

    def _obey(self, command: str, rest: str = "") -> None:
        if command == "/help":
            self._help()
        elif command == "/clear":
            self._said.clear()
            output.note("Forgotten.")
        elif command == "/system":
            self._instruct(rest.strip())
        else:
            output.note(f"There is no {command}; /help lists what there is. Nothing was sent to the model.")

    def _help(self) -> None:
        wide = max(map(len, COMMANDS))
        for name, meaning in COMMANDS.items():
            output.note(f"  {name:<{wide}}  {meaning}")
        output.note(f'  {"3 quotes":<{wide}}  """ begins and ends a message of several lines')
        output.note(f"  {'Ctrl-C':<{wide}}  stop the answer; at the prompt, drop the line; twice, end")

    def _instruct(self, text: str) -> None:
        if not text:
            output.note(self._system or "There is no system message.")
        elif not self._runner.chat:
            output.tell(errors.paragraph("error", _no_template().message, colour="red"))
        else:
            self._system = text
            output.note("Heeded from the next message on.")

    def _answer(self, message: str) -> None:
        self._said.append({"role": "user", "content": message})
        writer = Writer(self._observe)
        try:
            with caught() as enough:
                answer = self._runner.generate(
                    self._said if self._runner.chat else message,
                    system=self._system,
                    on_text=writer.write,
                    enough=enough.is_set,
                    **self._answering.generating(),
                )
        except AtPromptError:  # Ctrl-C once more, before the model took notice of the first
            self._said.pop()
            output.put("")
            output.note("Stopped; the message and what came of the answer are forgotten.")
            return
        except (
            UsageError
        ) as error:  # too long, or nothing the template takes: of this message, not of the program
            self._said.pop()
            hint = "/clear forgets the conversation." if self._said else error.hint
            output.tell(errors.paragraph("error", error.message, colour="red"))
            output.tell(errors.paragraph("hint", hint, colour="cyan"))
            return
        writer.end(answer.text)
        if answer.finish == "interrupted":
            output.note("Stopped.")
        elif answer.finish == "length":
            output.note(f"Cut off after {answer.tokens} tokens; --max-new-tokens allows more.")
        if not self._warned:
            output.warn(self._runner.answered(answer).warnings)
            self._warned = True
        if not self._runner.chat or not answer.text:
            self._said.pop()  # templates want turns to alternate
            return
        self._said.append({"role": "assistant", "content": answer.text})


def _no_template() -> UsageError:
    return UsageError(
        "This model has no chat template, so there is no place for a system message.",
        hint="Leave it out; the model continues the text that it is given.",
    )
