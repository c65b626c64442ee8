"""Replays a session from its log: checks that it sends the same bytes, and writes its music as a `.mid`.

Run as a program it writes the music of one log, with limits: see `rtgen.rig.kept.recovery`.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rtgen.errors import UserError
from rtgen.instrument.events import Ended, Step
from rtgen.instrument.notices import Answered
from rtgen.music import files
from rtgen.rig.kept import journal
from rtgen.rig.kept.journal import Opening
from rtgen.rig.kept.scribe import Scribe, where

UNREADABLE, UNWRITABLE = 2, 3
"""Exit statuses: the log is at fault; the disk is."""
_MEMORY = 2**30
"""Memory limit of the program in bytes, on Linux; a log of an hour takes a tenth of it."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """The result of a replay.

    Args:
        music: input and answers, with tempos and markers.
        steps: number of steps.
        seconds: duration.
        different: the first step whose bytes differ from the log; None if none do.
        answers: number of answers.
        ended: whether the log is complete; if not, rtgen was killed or is still running, or the file was cut off.
    """

    music: Scribe
    steps: int
    seconds: float
    different: int | None
    answers: int
    ended: bool

    @property
    def score(self) -> files.Score:
        """The music as a score."""
        return self.music.score()


Follow = Callable[[Iterable[Step]], Iterable[Step]]
"""Wraps an iterable of steps, for a progress bar."""


def replay(path: Path, follow: Follow = iter) -> Replayed:
    """Play a log to a fresh session.

    Raises:
        UserError: it is not a log, or cannot be read.
    """
    opening, steps = journal.read(path)
    return of(opening, follow(steps))


def of(opening: Opening, steps: Iterable[Step]) -> Replayed:
    """Play the steps of a log to a fresh session."""
    session = opening.session()
    scribe = Scribe(opening.preset)
    began = now = None
    different = None
    count = answers = 0
    ended = less = False
    for step in steps:
        began, now = step.now if began is None else began, step.now
        if isinstance(step.event, Ended):
            ended, again, takes_back = True, session.end(), True
        else:
            out = session.step(now, step.event)
            again, takes_back = out.messages, out.takes_back
            answers += sum(isinstance(n, Answered) and n.outcome != "missed" for n in out.notices)
        scribe.write(now, where(session, now), step.event, step.sent, takes_back=takes_back)
        if different is None and tuple(again) != step.sent:
            different, less = count, tuple(again[: len(step.sent)]) == step.sent
        count += 1
    if now is not None and not ended:
        # It was killed: end what still sounds. The messages of the last step may be incomplete.
        scribe.write(now, where(session, now), None, tuple(session.end()), takes_back=True)
        if less and different == count - 1:
            different = None
    return Replayed(scribe, count, (now or 0.0) - (began or 0.0), different, answers, ended)


def write(path: Path, follow: Follow = iter) -> Path:
    """Write the `.mid` of a log next to it.

    Raises:
        UserError: the log cannot be read, or the `.mid` cannot be written.
    """
    target = path.with_suffix(".mid")
    replay(path, follow).music.save(target)
    return target


def main(log: str) -> int:
    """Write the `.mid` of a log next to it; return the exit status."""
    _limit()
    threading.Thread(target=leave, daemon=True).start()
    try:
        music = replay(Path(log)).music
    except UserError as error:
        print(error, file=sys.stderr)
        return UNREADABLE
    try:
        music.save(Path(log).with_suffix(".mid"))
    except UserError as error:
        print(error, file=sys.stderr)
        return UNWRITABLE
    return 0


def leave() -> None:
    """Exit the process when its input ends, as it does with the process that started it."""
    with suppress(OSError):
        while os.read(0, 4096):  # not sys.stdin, which could not be closed meanwhile
            pass
    os._exit(0)


def _limit() -> None:
    if sys.platform == "linux":
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        limit = _MEMORY if hard == resource.RLIM_INFINITY else min(_MEMORY, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
