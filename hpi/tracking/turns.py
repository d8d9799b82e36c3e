"""Steps of several threads that are taken one after the other."""

from __future__ import annotations

from threading import Event


class Turn:
    """A place in a row: it begins when the one before has ended."""

    def __init__(self, before: Event) -> None:
        self._before = before
        self.ended = Event()

    def begin(self) -> None:
        """Wait for the turn before to end."""
        self._before.wait()

    def end(self) -> None:
        """Let the next one begin; one that has not begun waits until it may. A second call is harmless."""
        self._before.wait()
        self.ended.set()


class Turns:
    """Gives out turns, which threads take in the order in which they were given out.

    Example:
        >>> turns = Turns()
        >>> first, second = turns.next(), turns.next()
        >>> first.begin()
        >>> first.end()
        >>> second.begin()
    """

    def __init__(self) -> None:
        self._last = Event()
        self._last.set()

    def next(self) -> Turn:
        """The turn after those that were given out before."""
        turn = Turn(self._last)
        self._last = turn.ended
        return turn
