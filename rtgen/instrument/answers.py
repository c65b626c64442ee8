"""Tracks pending jobs and the answers to them: the present one, those before it, and the draft."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from rtgen.instrument.job import Job
from rtgen.music.note import Loop

_LOST_S = 2.0
"""A job without an answer for this many seconds is taken for lost."""
DEEP = 10
"""How many answers `back` can go back."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A pending job.

    Args:
        job: the job.
        at: when it was sent, seconds.
        lead_s: how long before its boundary, seconds.
        start: tick at which the answer's loop starts.
        warm: whether the model had just answered a draft of it.
    """

    job: Job
    at: float
    lead_s: float
    start: int
    warm: bool = False


class Answers:
    """Keeps pending jobs and past answers.

    Each answer is kept with its job, so that it can be made anew when a parameter changes.
    """

    def __init__(self) -> None:
        self._asked: dict[int, Asked] = {}
        self._draft: Asked | None = None
        self._in_hand: Loop | None = None
        self._past: deque[tuple[Loop, Job]] = deque(maxlen=DEEP + 1)
        self.present: Loop | None = None
        """The answer that plays, or would; None after silence."""
        self.job: Job | None = None
        """The job it answers."""

    def ask(self, asked: Asked, forget_before: int) -> None:
        """Add a pending job, and drop unanswered ones with a target up to tick `forget_before`."""
        recent = {target: other for target, other in self._asked.items() if target > forget_before}
        self._asked = {**recent, asked.job.target: asked}

    def ask_draft(self, asked: Asked) -> None:
        """Add a pending draft, which replaces the last one."""
        self._draft, self._in_hand = asked, None

    def take_draft(self, target: int, loop: Loop) -> Asked | None:
        """Accept a draft; return its request, or None if it is no longer wanted."""
        if self._draft is None or self._draft.job.target != target or self._in_hand is not None:
            return None
        self._in_hand = loop
        return self._draft

    def drafted(self, target: int) -> Asked | None:
        """Return the request of the draft at hand for an answer that begins at tick `target`; None if there is none."""
        draft = self._draft
        return draft if draft is not None and draft.job.target == target and self._in_hand is not None else None

    def play_draft(self, target: int) -> Loop | None:
        """Play the draft in place of a late answer, and return it; None if there is none."""
        draft, asked = self.drafted(target), self._asked[target]
        # The preset may have changed since.
        if draft is None or (draft.job.mode, draft.job.model) != (asked.job.mode, asked.job.model):
            return None
        assert self._in_hand is not None
        self.play(self._in_hand, asked.job)
        return self._in_hand

    def awaits(self, target: int) -> bool:
        """Return whether the job for tick `target` is unanswered."""
        return target in self._asked

    @property
    def waiting(self) -> bool:
        """Whether any job is unanswered."""
        return bool(self._asked)

    def remaking(self, now: float) -> bool:
        """Return whether the present answer is being made anew; jobs lost with their process do not count."""
        return any(asked.start != target and now - asked.at < _LOST_S for target, asked in self._asked.items())

    def take(self, target: int, loop: Loop) -> Asked | None:
        """Accept an answer; return its request, or None if it is no longer wanted."""
        asked = self._asked.pop(target, None)
        if asked is not None:
            if self._past and self._past[-1][1] is asked.job:
                self._past.pop()  # its draft, which played in the meantime
            self.play(loop, asked.job)
        return asked

    def play(self, loop: Loop, job: Job) -> None:
        """Make an answer the present one."""
        self.present, self.job = loop, job
        self._past.append((loop, job))

    def back(self) -> bool:
        """Go back to the answer before the present one; return False if there is none."""
        if len(self._past) < 2:
            return False
        self._past.pop()
        self.present, self.job = self._past[-1]
        return True

    def silence(self) -> None:
        """Have no present answer; past ones stay available to `back`."""
        self.present = self.job = None

    def cancel(self) -> None:
        """Drop all pending jobs and the draft."""
        self._asked.clear()
        self._draft = self._in_hand = None
