"""Tracks pending jobs and the answers to them: the present one, those before it, and the draft."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal

from rtgen.instrument.job import Job, Mode
from rtgen.instrument.notices import Recalled
from rtgen.music.habits import habitual
from rtgen.music.note import Loop
from rtgen.music.shaped import shaped

_LOST_S = 2.0
"""A job without an answer for this many seconds is taken for lost."""
_KEEPS: frozenset[Mode] = frozenset({"clean", "vary", "blend"})
"""The modes whose answers keep notes of their calls; in others a note that is in both is so by chance."""
DEEP = 10
"""How many answers `back` can go back, and `forward` forward again."""


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


Outcome = Literal["answer", "late", "missed"]
"""An answer plays from its boundary on; or from a later bar on; or not at all, as it came after its loop."""


@dataclass(frozen=True, slots=True)
class Begun:
    """An answer of which a part has come.

    Args:
        asked: its request.
        took_s: seconds from the request to the first part.
        outcome: of the first part.
    """

    asked: Asked
    took_s: float
    outcome: Outcome


class Answers:
    """Keeps pending jobs and past answers.

    Each answer is kept with its job, so that it can be made anew when a parameter changes.
    """

    def __init__(self) -> None:
        self._asked: dict[int, Asked] = {}
        self._draft: Asked | None = None
        self._in_hand: Loop | None = None
        self._past: deque[tuple[Loop, Job]] = deque(maxlen=DEEP + 1)
        # Where in it the present answer is, or the last one that there was.
        self._at = -1
        self.present: Loop | None = None
        """The answer that plays, or would; None after silence."""
        self.job: Job | None = None
        """The job it answers."""
        self.begun: Begun | None = None
        """The present answer while parts of it are to come."""

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
        return self.play(self._in_hand, asked.job)

    def awaits(self, target: int) -> bool:
        """Return whether the job for tick `target` is unanswered."""
        return target in self._asked

    def expects(self, target: int, now: float) -> bool:
        """Return whether an answer for tick `target` is still to come; those lost with their process do not count."""
        asked = self._asked.get(target)
        return asked is not None and now - asked.at < _LOST_S

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

    def play(self, loop: Loop, job: Job) -> Loop:
        """Make an answer the present one; return it with the gestures of what it keeps of its call."""
        self.present, self.job, self.begun = _shaped(loop, job), job, None
        self._past.append((self.present, job))
        self._at = len(self._past) - 1
        return self.present

    def extend(self, part: Loop) -> Loop:
        """Add a part to the present answer, and return it."""
        assert self.present is not None
        assert self.job is not None
        longer = self.present.with_notes((*self.present.notes, *part.notes)).monophonic_by_pitch()
        self.present = _shaped(longer, self.job)
        self._past[-1] = self.present, self.job
        return self.present

    def part(self) -> tuple[Loop, Job] | None:
        """Return the present answer with its job, and forget it and all others to its call; None if there is none."""
        if self.present is None or self.job is None:
            return None
        present, job = self.present, self.job
        self._drop(job.loop)
        self.silence()
        return present, job

    def put_back(self, loop: Loop, job: Job) -> None:
        """Make an answer the present one that is as it was when it was parted with, in place of the present one."""
        if self.job is not None:
            self._drop(self.job.loop)
        self.present, self.job, self.begun = loop, job, None
        self._past.append((loop, job))
        self._at = len(self._past) - 1

    def _drop(self, call: Loop) -> None:
        self._past = deque((each for each in self._past if each[1].loop is not call), maxlen=DEEP + 1)
        self._at = len(self._past) - 1

    def recall(self, button: str) -> Recalled:
        """Go `back` or `forward`, and return what came of it."""
        moved = self.back() if button == "back" else self.forward()
        return Recalled(self.number, len(self.proposals), len(self.present or ()), moved)

    def back(self) -> bool:
        """Go back to the answer before the present one; return False if there is none.

        After silence that is the last one that there was.
        """
        to = self._at if self.present is None else self._at - 1
        if to < 0:
            return False
        if self.begun is not None:
            self._past.pop()  # no more of it will come, and half of an answer is none
        self._go_to(to)
        return True

    def forward(self) -> bool:
        """Go forward again, to the answer after the present one; return False if there is none."""
        if self.present is None or self._at + 1 >= len(self._past):
            return False
        self._go_to(self._at + 1)
        return True

    def _go_to(self, number: int) -> None:
        self._at, self.begun = number, None
        self.present, self.job = self._past[number]

    @property
    def proposals(self) -> tuple[Loop, ...]:
        """All answers to the call of the present one that are still there, the oldest first."""
        if self.present is None or self.job is None:
            return ()
        call = self.job.loop
        return tuple(loop for loop, job in self._past if job.loop is call)

    @property
    def number(self) -> int:
        """Which of the proposals is the present one, from 1; 0 if there is none."""
        call = self.job.loop if self.job is not None else None
        return sum(job.loop is call for _, job in list(self._past)[: self._at + 1])

    def silence(self) -> None:
        """Have no present answer; past ones stay available to `back`."""
        self.present = self.job = self.begun = None

    def clear(self) -> None:
        """Forget everything."""
        self.__init__()  # type: ignore[misc]

    def cancel(self) -> None:
        """Drop all pending jobs and the draft."""
        self._asked.clear()
        self._draft = self._in_hand = None


def _shaped(loop: Loop, job: Job) -> Loop:
    """Return an answer with the gestures of the notes that it keeps, and curves for new ones.

    Of a blend, those of the nearer end come first.
    """
    calls = (job.loop,) if job.ends is None else job.ends
    if job.knobs.get("blend", 0.0) >= 0.5:
        calls = calls[::-1]
    kept = shaped(loop, calls) if job.mode in _KEEPS else loop
    return habitual(kept, calls, job.knobs.get("curves", 0.0), job.seed)
