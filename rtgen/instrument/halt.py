"""A Stop that may be none: a sequencer that loops sends Stop, Song Position and Continue each time round."""

from __future__ import annotations

from rtgen.instrument.job import Answer

_LASTS_S = 4.0
"""For so long after a Stop it may go on: no transport takes longer than a beat at the slowest tempo."""


class Halt:
    """Keeps the answers that come after a Stop for as long as everything may go on where it was."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._answers: list[Answer] = []

    def begin(self, now: float) -> None:
        """The song was stopped at `now`, in seconds."""
        self._since = now

    @property
    def lasts(self) -> bool:
        """Whether the song may still go on as it was."""
        return self._since is not None

    def over(self, now: float) -> bool:
        """Return whether it has been stopped for so long that it does not go on."""
        return self._since is not None and now > self._since + _LASTS_S

    def keep(self, answer: Answer) -> bool:
        """Keep an answer for later; return False if it is not to be kept, as the song plays or began of it is gone."""
        keeps = self._since is not None and (bool(self._answers) or answer.part in ("whole", "first"))
        if keeps:
            self._answers.append(answer)
        return keeps

    def end(self) -> list[Answer]:
        """End it, and return the answers that came meanwhile."""
        self._since, answers, self._answers = None, self._answers, []
        return answers
