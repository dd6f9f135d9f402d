"""What the trackers of a torrent had to say last: who did not answer, who said no, and in which words."""

from __future__ import annotations

from weightshare.swarm.events import Event, TrackerFailed, TrackerReplied

_NAMED = 2


class TrackerTroubles:
    """Follows the trackers' answers; one that answers is no trouble any more."""

    def __init__(self) -> None:
        self._words: dict[str, str] = {}

    def hear(self, event: Event) -> None:
        """Take an event into account; those that are no tracker's are passed over."""
        if isinstance(event, TrackerFailed):
            self._words[event.url] = event.words
        elif isinstance(event, TrackerReplied):
            self._words.pop(event.url, None)

    def __str__(self) -> str:
        """A few words about the first of them, empty if every tracker that was asked has answered."""
        words = list(dict.fromkeys(self._words.values()))
        more = len(words) - _NAMED
        return "; ".join(words[:_NAMED]) + (f"; and {more} more" if more > 0 else "")
