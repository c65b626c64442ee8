"""A session once more, from its log: the same bytes, and the music of it as a `.mid`."""

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
"""Of a tempo: what is less is a measure's uncertainty, and not written down."""


@dataclass(slots=True)
class Replayed:
    """What came of a log.

    Args:
        score: what was played and what answered, with tempos and markers.
        steps: that it had.
        seconds: that it lasted.
        different: the first step of which the session now sends other bytes than it did; None if all are the same.
        answers: how many there were.
        ended: whether the log has an end; without one rtgen was killed, runs still, or the rest is missing.
    """

    score: files.Score
    steps: int
    seconds: float
    different: int | None
    answers: int
    ended: bool


Follow = Callable[[Iterable[Step]], Iterable[Step]]
"""Looks on while steps go by: a long session takes a while."""


def replay(path: Path, follow: Follow = iter) -> Replayed:
    """Plays a log to a fresh session.

    Raises:
        UserError: it is no log, or cannot be read.
    """
    opening, steps = journal.read(path)
    return of(opening, follow(steps))


def of(opening: Opening, steps: Iterable[Step]) -> Replayed:
    """What comes of what is in a log."""
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
        # It was killed; what sounded then is ended here. Of the last step not all that was sent need be there.
        scribe.write(now, None, tuple(session.end()))
        if less and different == count - 1:
            different = None
    return Replayed(scribe.score(), count, (now or 0.0) - (began or 0.0), different, answers, ended)


@dataclass(slots=True)
class _Scribe:
    """Writes down in ticks what is played and what is sent. Wherever the song is located, what follows comes after."""

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
        """What came in and went out in a step that was just taken."""
        self._move(now)
        if isinstance(event, Received):
            for message in self._parsers.setdefault(event.port, midi.Parser()).feed(event.data):
                if _is_music(message):
                    self._played.append(files.Event(self.position, message))
        self._sent += [files.Event(self.position, message) for message in sent if _is_music(message)]

    def mark(self, text: str) -> None:
        """A marker, here."""
        self._markers.append((self.position, text))

    def _move(self, now: float) -> None:
        transport, bar = self.session.transport, self.session.preset.metre.bar
        rolls = transport.state is State.ROLLING
        passed = 0.0 if self._then is None else now - self._then
        if rolls:
            tick = max(transport.tick_at(now), 0)
            if not self._rolls or abs(tick + self._offset - self.position) > 4 * bar:
                # It begins here, or elsewhere: in the same place of a bar, after all that was.
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
        """All of it."""
        tracks = tuple(
            files.Track(name, tuple(events)) for name, events in (("played", self._played), ("answered", self._sent))
        )
        tempos = [(0, self._tempos[0][1]) if self._tempos else (0, 120.0), *self._tempos[1:]]
        metres = ((0, self.session.preset.metre),)
        return files.Score(tracks, tuple(tempos), metres, tuple(self._markers), self.position)


def _is_music(message: bytes) -> bool:
    """Notes and the pedal."""
    return midi.is_note(message) or (message[0] & 0xF0 == 0xB0 and message[1] == midi.SUSTAIN)


def write(path: Path, follow: Follow = iter) -> Path:
    """Writes the `.mid` of a log beside it.

    Raises:
        UserError: the log cannot be read, or the `.mid` not be written.
    """
    target = path.with_suffix(".mid")
    files.write(target, replay(path, follow).score)
    return target


def unfinished(folder: Path) -> list[Path]:
    """The logs of sessions that never wrote their `.mid`, or went on after somebody else did."""

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
