"""What the model was asked for, and what it answered: the answer that plays, those before it, and what is awaited."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from rtgen.instrument.job import Job
from rtgen.music.note import Loop

_LOST_S = 2.0
"""An answer that has not come by then will not."""
DEEP = 10
"""Answers that can be gone back to."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A job that is on its way.

    Args:
        job: what was asked.
        at: when, in seconds.
        lead_s: how long before its boundary.
        start: tick at which the loop begins that the answer is of.
        warm: whether the model had just answered, a draft of this.
    """

    job: Job
    at: float
    lead_s: float
    start: int
    warm: bool = False


class Answers:
    """Keeps what was asked and answered.

    An answer belongs to the job that made it, so that it can be asked for once more when a knob was turned.
    """

    def __init__(self) -> None:
        self._asked: dict[int, Asked] = {}
        self._draft: Asked | None = None
        self._in_hand: Loop | None = None
        self._past: deque[tuple[Loop, Job]] = deque(maxlen=DEEP + 1)
        self.present: Loop | None = None
        """The answer that plays, or would; None after silence."""
        self.job: Job | None = None
        """What it was made of."""

    def ask(self, asked: Asked, forget_before: int) -> None:
        """A job goes to the model; those of targets before a tick were never answered, and are forgotten."""
        recent = {target: other for target, other in self._asked.items() if target > forget_before}
        self._asked = {**recent, asked.job.target: asked}

    def ask_draft(self, asked: Asked) -> None:
        """A draft is asked for; the one before it is of no use any more."""
        self._draft, self._in_hand = asked, None

    def take_draft(self, target: int, loop: Loop) -> Asked | None:
        """A draft came; the job that it is to, or None if nobody waits for it any more."""
        if self._draft is None or self._draft.job.target != target or self._in_hand is not None:
            return None
        self._in_hand = loop
        return self._draft

    def drafted(self, target: int) -> Asked | None:
        """What the draft is to of the answer that begins at that tick; None if there is no draft of it."""
        draft = self._draft
        return draft if draft is not None and draft.job.target == target and self._in_hand is not None else None

    def play_draft(self, target: int) -> Loop | None:
        """Plays the draft in the place of an answer that is late; None if there is none."""
        draft, asked = self.drafted(target), self._asked[target]
        # Another preset may have taken over since.
        if draft is None or draft.job.mode != asked.job.mode:
            return None
        assert self._in_hand is not None
        self.play(self._in_hand, asked.job)
        return self._in_hand

    def awaits(self, target: int) -> bool:
        """Whether a job for that tick has not been answered."""
        return target in self._asked

    @property
    def waiting(self) -> bool:
        """Whether anything is awaited."""
        return bool(self._asked)

    def remaking(self, now: float) -> bool:
        """Whether an answer that plays is being made anew; a job that was lost with its process is not waited for."""
        return any(asked.start != target and now - asked.at < _LOST_S for target, asked in self._asked.items())

    def take(self, target: int, loop: Loop) -> Asked | None:
        """An answer came; the job that it is to, or None if nobody waits for it any more."""
        asked = self._asked.pop(target, None)
        if asked is not None:
            if self._past and self._past[-1][1] is asked.job:
                self._past.pop()  # its draft, which played meanwhile
            self.play(loop, asked.job)
        return asked

    def play(self, loop: Loop, job: Job) -> None:
        """An answer plays from now on."""
        self.present, self.job = loop, job
        self._past.append((loop, job))

    def back(self) -> bool:
        """Goes back to the answer before the present one; False if there is none."""
        if len(self._past) < 2:
            return False
        self._past.pop()
        self.present, self.job = self._past[-1]
        return True

    def silence(self) -> None:
        """Nothing plays any more; what was answered can be gone back to."""
        self.present = self.job = None

    def cancel(self) -> None:
        """Waits for nothing any more."""
        self._asked.clear()
        self._draft = self._in_hand = None
