"""What a check says, what a doctor is asked, and how several checks that wait run at the same time."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from weightshare.content.home import Home
from weightshare.errors import NetworkError
from weightshare.swarm.networks import Network

Peer = tuple[str, int]


class Outcome(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what, in a word or two; several checks may share one, as one for each tracker does.
        outcome: `warn` is what works, but less well than it could; `skip` says in `finding` why nothing was tried.
        finding: what was found, in one line; may hold words from outside, which whoever prints them escapes.
        advice: what to do about it; empty where nothing need be done.
        code: the exit status if this failed.
        show: a text to be copied whole, such as a link; printed as it is, on a line of its own.
        facts: values behind the finding, for programs; keys and values as JSON has them.
    """

    name: str
    outcome: Outcome
    finding: str
    advice: str = ""
    code: int = NetworkError.exit_code
    show: str = ""
    facts: dict[str, object] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """The check in the JSON result."""
        return {
            "name": self.name,
            "outcome": str(self.outcome),
            "finding": self.finding,
            "advice": self.advice or None,
            **({"show": self.show} if self.show else {}),
            **({"facts": self.facts} if self.facts else {}),
        }


def ok(name: str, finding: str, **facts: object) -> Check:
    """A check that found all well."""
    return Check(name, Outcome.OK, finding, facts=facts)


def warn(name: str, finding: str, advice: str = "", **facts: object) -> Check:
    """A check that found something to know or to mend, which stops nothing."""
    return Check(name, Outcome.WARN, finding, advice, facts=facts)


def fail(
    name: str, finding: str, advice: str = "", *, code: int = NetworkError.exit_code, **facts: object
) -> Check:
    """A check that found something which does not work."""
    return Check(name, Outcome.FAIL, finding, advice, code, facts=facts)


def skip(name: str, reason: str, advice: str = "") -> Check:
    """A check that was not made, and why."""
    return Check(name, Outcome.SKIP, reason, advice)


def status_of(checks: Iterable[Check]) -> int:
    """The exit status: 0 if nothing failed, else that of the first check that did."""
    return next((check.code for check in checks if check.outcome is Outcome.FAIL), 0)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a doctor is asked to look at, and with what.

    Attributes:
        source: a link, an info-hash, a `.torrent`, a release, a folder; empty for this machine.
        home: where the store is.
        network: how far packets may go; a check that would go further is skipped.
        port: where to listen, None for the network's default.
        peers: addresses that may be dialled beside those that the source names.
        dht_nodes: by which to enter the DHT; none for the public ones.
        patience: longest time that one question to somebody else may take, in seconds.
        mirrors: for a release, how many others should hold all of it; None if nobody said.
    """

    source: str
    home: Home
    network: Network = Network.PUBLIC
    port: int | None = None
    peers: Sequence[Peer] = ()
    dht_nodes: Sequence[Peer] = ()
    patience: float = 8.0
    mirrors: int | None = None


def together(
    jobs: Sequence[tuple[Callable[[], Check], Callable[[], Check]]], within: float
) -> Iterator[Check]:
    """Run checks that wait for others at the same time; each comes as soon as it is there.

    Args:
        jobs: pairs of the check itself and what to say in its place if it does not end in time. A look-up of a name
            cannot be cut short, so a thread may outlive this; it ends by itself and keeps no process alive.
        within: seconds for all of them.
    """
    done: queue.SimpleQueue[tuple[int, Check | BaseException]] = queue.SimpleQueue()

    def run(number: int, job: Callable[[], Check]) -> None:
        try:
            done.put((number, job()))
        except BaseException as error:  # handed over, and raised where the checks are asked for
            done.put((number, error))

    for number, (job, _) in enumerate(jobs):
        threading.Thread(target=run, args=(number, job), daemon=True).start()
    waiting = dict(enumerate(jobs))
    deadline = time.monotonic() + within
    while waiting:
        try:
            number, found = done.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            break
        del waiting[number]
        if isinstance(found, BaseException):
            raise found
        yield found
    for _, instead in waiting.values():
        yield instead()
