"""The life of one fetch, written out: its states, what may follow what, how long each wait may last, and why it waits.

    resolving --> gating --> planning --> reusing --> downloading <--> proving --> done
        ^            ^           |           |             ^              ^
        |            |           |           +-------------|--------------+    (nothing left to fetch)
        |            |           +-------------------------|------------------> done  (a dry run; all was here)
        v            v                                     v
     stalled      stalled                               stalled

    and from each but `done`: --> failed

*Resolving* waits for the info dictionary, *gating* for the one file that says who made the rest, and judges both.
*Planning* looks at where the files go, *reusing* takes and compares what this machine has already, *downloading* brings
pieces, *proving* reads the last of them back and gives the files their names. Only resolving, gating and downloading
depend on others, so only they can stall; a stall ends where it began, or in failure when patience ends. `done` and
`failed` are the end.

Pure: the clock is passed in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from enum import StrEnum

from weightshare.progress import Phase
from weightshare.swarm.reasons import (
    Aim,
    Observation,
    Reason,
    describe,
    give_up,
    helped,
    is_capped,
    reason_for,
)

_WINDOW = 3.0
_QUIET = 2.0


class State(StrEnum):
    """Where a fetch stands."""

    RESOLVING = "resolving"
    GATING = "gating"
    PLANNING = "planning"
    REUSING = "reusing"
    DOWNLOADING = "downloading"
    STALLED = "stalled"
    PROVING = "proving"
    DONE = "done"
    FAILED = "failed"


_S = State
TRANSITIONS: Mapping[State, frozenset[State]] = {
    _S.RESOLVING: frozenset({_S.GATING, _S.STALLED, _S.FAILED}),
    _S.GATING: frozenset({_S.PLANNING, _S.STALLED, _S.FAILED}),
    _S.PLANNING: frozenset({_S.REUSING, _S.DONE, _S.FAILED}),
    _S.REUSING: frozenset({_S.DOWNLOADING, _S.PROVING, _S.FAILED}),
    _S.DOWNLOADING: frozenset({_S.PROVING, _S.STALLED, _S.FAILED}),
    _S.STALLED: frozenset({_S.RESOLVING, _S.GATING, _S.DOWNLOADING, _S.FAILED}),
    _S.PROVING: frozenset({_S.DOWNLOADING, _S.DONE, _S.FAILED}),
    _S.DONE: frozenset(),
    _S.FAILED: frozenset(),
}
"""What may follow each state. Of stalled's, only the state it came from may follow."""

AIMS: Mapping[State, Aim] = {
    _S.RESOLVING: Aim.METADATA,
    _S.GATING: Aim.MANIFEST,
    _S.DOWNLOADING: Aim.PIECES,
}
"""The states that depend on others, and what they wait for."""

PHASES: Mapping[State, Phase] = {
    _S.RESOLVING: Phase.METADATA,
    _S.GATING: Phase.MANIFEST,
    _S.PLANNING: Phase.CHECKING,
    _S.REUSING: Phase.CHECKING,
    _S.DOWNLOADING: Phase.FETCHING,
    _S.PROVING: Phase.PROVING,
    _S.DONE: Phase.FETCHING,
}
"""The step a user is shown for each state; a stall is shown as the step it interrupts."""


class ForbiddenTransitionError(RuntimeError):
    """A state that may not follow the present one: a mistake in the program."""


class Machine:
    """One fetch's state.

    Args:
        timeout: longest time without any progress in seconds, 0 for ever.
        now: when the fetch began.

    Attributes:
        state: where it stands.
        reason: why it waits, while it is stalled, or what slows it down; None when all is well.
        note: the reason in words, empty when there is none.
        error: what it failed with.
    """

    def __init__(self, timeout: float, now: float) -> None:
        self.timeout = timeout
        self.state = State.RESOLVING
        self.reason: Reason | None = None
        self.note = ""
        self.error: BaseException | None = None
        self._origin = State.RESOLVING
        self._samples: deque[tuple[float, int]] = deque()
        self._moved = now
        self._best = -1

    @property
    def working(self) -> State:
        """The state, or the one that a stall interrupts."""
        return self._origin if self.state is State.STALLED else self.state

    @property
    def over(self) -> bool:
        """Whether nothing follows any more."""
        return not TRANSITIONS[self.state]

    def enter(self, state: State, now: float) -> None:
        """Go on to the next state; from a stall, by way of the state it interrupts.

        Raises:
            ForbiddenTransitionError: it may not follow, or is only entered by `see` or `fail`.
        """
        if state in (State.STALLED, State.FAILED):
            raise ForbiddenTransitionError(f"{state} has a reason; it is not entered by name")
        if self.state is State.STALLED:
            if state is not self._origin and state not in TRANSITIONS[self._origin]:
                raise ForbiddenTransitionError(f"{state} may not follow {self._origin}, where it stalled")
            self._recover()
            if state is self._origin:
                return
        self._step(state)
        self._samples.clear()
        self._moved, self._best = now, -1
        self.reason, self.note = None, ""

    def fail(self, error: BaseException) -> None:
        """End it with this error; a fetch that is over already stays as it ended."""
        if not self.over:
            self._step(State.FAILED)
            self.error = error

    def see(self, seen: Observation) -> None:
        """Take a look into account: stall, recover, or give up.

        Raises:
            NetworkError, NoSpaceError: no progress for longer than the time allowed, of the kind that says what was
                missing. The fetch has failed with it.
        """
        if self.over:
            raise ForbiddenTransitionError(f"a fetch that is {self.state} sees nothing more")
        self.measure(seen.now, seen.done)
        aim = AIMS.get(self.working)
        if aim is None:
            return
        waited = seen.now - self._moved
        if seen.full is None and not self.quiet(seen.now):
            self._recover()
            capped = is_capped(seen, self.rate())
            self.reason = Reason.CAPPED if capped else None
            self.note = describe(Reason.CAPPED, seen) if capped else helped(seen)
            return
        reason = reason_for(seen, aim)
        if self.timeout and waited >= self.timeout:
            error = give_up(reason, seen, aim, waited)
            self.fail(error)
            raise error
        if self.state is not State.STALLED:
            self._origin = self.state
            self._step(State.STALLED)
        self.reason, self.note = reason, describe(reason, seen)

    def measure(self, now: float, done: int) -> None:
        """Note how many bytes are here, for the rate and for when something last came; `see` does so too."""
        self._samples.append((now, done))
        while len(self._samples) > 2 and now - self._samples[0][0] > _WINDOW:
            self._samples.popleft()
        if done > self._best:
            self._best, self._moved = done, now

    def anew(self, done: int, now: float) -> None:
        """Begin the wait anew, with so many bytes here: what it waited for has come, and progress may follow now."""
        self._moved, self._best = now, done

    def quiet(self, now: float) -> bool:
        """Whether nothing has come for so long that there is something to explain."""
        return now - self._moved >= _QUIET

    def rate(self) -> float:
        """Bytes a second over the last seconds; 0 when nothing came."""
        if len(self._samples) < 2:
            return 0.0
        (first, before), (last, after) = self._samples[0], self._samples[-1]
        return max(0, after - before) / (last - first) if last > first else 0.0

    def _recover(self) -> None:
        if self.state is State.STALLED:
            self._step(self._origin)
            self.reason, self.note = None, ""

    def _step(self, state: State) -> None:
        if state not in TRANSITIONS[self.state]:
            raise ForbiddenTransitionError(f"{state} may not follow {self.state}")
        self.state = state
