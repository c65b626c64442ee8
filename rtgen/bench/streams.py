"""Reads captures as music: a tick grid from the clock, notes from the output, and the differences."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rtgen.bench.server import RATE, Timed
from rtgen.music.note import Note
from rtgen.music.time import TICKS_PER_CLOCK, TICKS_PER_SIXTEENTH

CLOCK, START, CONTINUE, STOP, POSITION = 0xF8, 0xFA, 0xFB, 0xFC, 0xF2


class UnsafeError(AssertionError):
    """A note stream that would leave stuck notes on a synthesizer, or confuse it."""


@dataclass(frozen=True)
class Run:
    """The clock's tick grid from a Start or Continue to the following Stop.

    Args:
        tick: song position of the first clock.
        clocks: frame of each clock, 20 ticks apart.
        stop: frame of the Stop; None if there was none.
    """

    tick: int
    clocks: tuple[float, ...]
    stop: float | None

    def frame(self, tick: float) -> float:
        """The frame at which a tick was due: linear between clocks, extrapolated at the ends."""
        at = (tick - self.tick) / TICKS_PER_CLOCK
        index = min(max(int(at), 0), len(self.clocks) - 2)
        before, after = self.clocks[index : index + 2]
        return before + (at - index) * (after - before)

    def position(self, frame: float) -> float:
        """The tick that was due at a frame."""
        index = min(max(bisect_right(self.clocks, frame) - 1, 0), len(self.clocks) - 2)
        before, after = self.clocks[index : index + 2]
        return self.tick + (index + (frame - before) / (after - before)) * TICKS_PER_CLOCK


def runs(clock: Iterable[Timed]) -> list[Run]:
    """Reads a clock as a receiver does: the first clock after Start is tick 0, after Continue the song position."""
    found: list[Run] = []
    position, rolling = 0, False
    start, clocks = 0, list[float]()

    def finish(stop: float | None) -> None:
        if rolling and len(clocks) > 1:
            found.append(Run(start, tuple(clocks), stop))

    for frame, data in clock:
        if data[0] == CLOCK and rolling:
            clocks.append(frame)
        elif data[0] == POSITION:
            position = (data[1] | data[2] << 7) * TICKS_PER_SIXTEENTH
        elif data[0] in (START, CONTINUE):
            finish(None)
            start, clocks, rolling = 0 if data[0] == START else position, [], True
        elif data[0] == STOP:
            finish(frame)
            rolling = False
            position = start + len(clocks) * TICKS_PER_CLOCK
    finish(None)
    return found


class Sounded(NamedTuple):
    """A note of the output, in absolute frames."""

    on: float
    off: float
    pitch: int
    velocity: int
    channel: int = 0


def sounded(output: Iterable[Timed]) -> list[Sounded]:
    """The notes of a stream, in order of their note-ons.

    Raises:
        UnsafeError: a note-on without exactly one note-off, a note-off without note-on, or a note that never ends.
    """
    notes: list[Sounded] = []
    held: dict[tuple[int, int], tuple[float, int]] = {}
    for frame, data in output:
        kind, channel = data[0] & 0xF0, data[0] & 0x0F
        if kind not in (0x80, 0x90):
            continue
        key = channel, data[1]
        if kind == 0x90 and data[2] > 0:
            if key in held:
                raise UnsafeError(f"note {data[1]} was struck at {frame} while it sounded since {held[key][0]}")
            held[key] = frame, data[2]
        elif key not in held:
            raise UnsafeError(f"note-off for {data[1]} at {frame}, which did not sound")
        else:
            on, velocity = held.pop(key)
            notes.append(Sounded(on, frame, data[1], velocity, channel))
    if held:
        raise UnsafeError(f"still sounding at the end: {sorted(pitch for _, pitch in held)}")
    return sorted(notes)


class Difference(NamedTuple):
    """Deviation of a note from the expected one, in frames (positive is late)."""

    on: float
    off: float
    at: float
    """Expected onset."""


def within(notes: Iterable[Sounded], run: Run, first: float, last: float) -> list[Sounded]:
    """The notes that began between two ticks (up to half a clock early counts as on time)."""
    slack = TICKS_PER_CLOCK / 2
    return [n for n in notes if run.frame(first - slack) <= n.on < run.frame(last - slack)]


def compare(meant: Sequence[Note], heard: Iterable[Sounded], run: Run, start: int) -> list[Difference]:
    """Pairs expected notes, from tick `start` on, with those heard, by pitch and in order.

    Raises:
        AssertionError: missing or extra notes, or a different velocity.
    """
    by_pitch: dict[int, list[Sounded]] = defaultdict(list)
    for note in sorted(heard):
        by_pitch[note.pitch].append(note)
    differences = []
    for pitch in sorted({n.pitch for n in meant} | set(by_pitch)):
        wanted = sorted(n for n in meant if n.pitch == pitch)
        got = by_pitch[pitch]
        assert len(got) == len(wanted), (
            f"pitch {pitch}: meant at ticks {[start + n.onset for n in wanted]}, "
            f"heard at {[round(run.position(n.on), 1) for n in got]}"
        )
        for want, have in zip(wanted, got, strict=True):
            assert have.velocity == want.velocity, f"pitch {pitch}: velocity {have.velocity}, not {want.velocity}"
            on, off = run.frame(start + want.onset), run.frame(start + want.end)
            differences.append(Difference(have.on - on, have.off - off, on))
    return differences


def milliseconds(frames: float) -> float:
    """Converts frames to milliseconds."""
    return frames * 1000 / RATE
