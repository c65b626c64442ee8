"""Replays a session from its log: checks that it sends the same bytes, and writes its music as a `.mid`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from rtgen.errors import UserError
from rtgen.instrument.clocks.transport import State
from rtgen.instrument.events import Ended, Received
from rtgen.instrument.notices import Answered, PresetChanged
from rtgen.instrument.session import Session
from rtgen.music import files, midi
from rtgen.music.time import PPQN, seconds_per_tick
from rtgen.rig.kept import journal
from rtgen.rig.kept.journal import Opening, Step

_TEMPO_MOVES = 0.005
"""Smaller relative changes of tempo are measurement noise."""


@dataclass(slots=True)
class Replayed:
    """The result of a replay.

    Args:
        score: input and answers, with tempos and markers.
        steps: number of steps.
        seconds: duration.
        different: the first step whose bytes differ from the log; None if none do.
        answers: number of answers.
        ended: whether the log is complete; if not, rtgen was killed or is still running, or the file was cut off.
    """

    score: files.Score
    steps: int
    seconds: float
    different: int | None
    answers: int
    ended: bool


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
    scribe = _Scribe(session)
    scribe.mark(opening.preset.name)
    began = now = None
    different = None
    count = answers = 0
    ended = less = False
    for step in steps:
        began, now = step.now if began is None else began, step.now
        if isinstance(step.event, Ended):
            ended, again = True, session.end()
        else:
            out = session.step(now, step.event)
            again = out.messages
            for notice in out.notices:
                if isinstance(notice, PresetChanged):
                    scribe.mark(notice.preset.name)
                answers += isinstance(notice, Answered) and notice.outcome != "missed"
        scribe.write(now, step.event, step.sent)
        if different is None and tuple(again) != step.sent:
            different, less = count, tuple(again[: len(step.sent)]) == step.sent
        count += 1
    if now is not None and not ended:
        # It was killed: end what still sounds. The messages of the last step may be incomplete.
        scribe.write(now, None, tuple(session.end()))
        if less and different == count - 1:
            different = None
    return Replayed(scribe.score(), count, (now or 0.0) - (began or 0.0), different, answers, ended)


@dataclass(slots=True)
class _Scribe:
    """Writes input and output on one timeline of ticks that never goes back, wherever the song is moved."""

    session: Session
    position: int = 0
    _offset: int = 0
    _rolls: bool = False
    _then: float | None = None
    _parsers: dict[int, midi.Parser] = field(default_factory=dict)
    _played: list[files.Event] = field(default_factory=list)
    _sent: list[files.Event] = field(default_factory=list)
    _tempos: list[tuple[int, float]] = field(default_factory=list)
    _markers: list[tuple[int, str]] = field(default_factory=list)

    def write(self, now: float, event: object, sent: tuple[bytes, ...]) -> None:
        """Add the input and output of the step that was just taken."""
        self._move(now)
        if isinstance(event, Received):
            for message in self._parsers.setdefault(event.port, midi.Parser()).feed(event.data):
                if _is_music(message):
                    self._played.append(files.Event(self.position, message))
        self._sent += [files.Event(self.position, message) for message in sent if _is_music(message)]

    def mark(self, text: str) -> None:
        """Add a marker here."""
        self._markers.append((self.position, text))

    def _move(self, now: float) -> None:
        transport, bar = self.session.transport, self.session.preset.metre.bar
        rolls = transport.state is State.ROLLING
        passed = 0.0 if self._then is None else now - self._then
        if rolls:
            tick = max(transport.tick_at(now), 0)
            if not self._rolls or abs(tick + self._offset - self.position) > 4 * bar:
                # The song started or moved: go on after everything so far, at the same place in the bar.
                self._offset = -(-self.position // bar) * bar - tick // bar * bar
            self.position = max(self.position, tick + self._offset)
            if self._is_news(transport.tempo):
                self._tempos.append((self.position, transport.tempo))
        elif passed > 0:
            self.position += round(passed / seconds_per_tick(transport.tempo))
        self._rolls, self._then = rolls, now

    def _is_news(self, tempo: float) -> bool:
        if not self._tempos:
            return True
        then, before = self._tempos[-1]
        return abs(tempo / before - 1) > _TEMPO_MOVES and self.position >= then + PPQN

    def score(self) -> files.Score:
        """Return everything written so far."""
        tracks = tuple(
            files.Track(name, tuple(events)) for name, events in (("played", self._played), ("answered", self._sent))
        )
        tempos = [(0, self._tempos[0][1]) if self._tempos else (0, 120.0), *self._tempos[1:]]
        metres = ((0, self.session.preset.metre),)
        return files.Score(tracks, tuple(tempos), metres, tuple(self._markers), self.position)


def _is_music(message: bytes) -> bool:
    """Return whether a message is a note, or decides how long notes last: pedals and channel mode messages."""
    if message[0] & 0xF0 == 0xB0:
        return message[1] in midi.HOLDS or message[1] >= midi.ALL_SOUND_OFF
    return midi.is_note(message)


def write(path: Path, follow: Follow = iter) -> Path:
    """Write the `.mid` of a log next to it.

    Raises:
        UserError: the log cannot be read, or the `.mid` cannot be written.
    """
    target = path.with_suffix(".mid")
    files.write(target, replay(path, follow).score)
    return target


def unfinished(folder: Path) -> list[Path]:
    """Return the logs without a `.mid`, or with one that is older than the log."""

    def written(log: Path) -> bool:
        music = log.with_suffix(".mid")
        return music.exists() and music.stat().st_mtime >= log.stat().st_mtime

    return [path for path in sorted(folder.glob(f"*{journal.SUFFIX}")) if not written(path)]


if __name__ == "__main__":
    for name in sys.argv[1:]:
        try:
            write(Path(name))
        except UserError as error:
            print(error, file=sys.stderr)
