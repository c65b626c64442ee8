"""Gives new notes the curves of notes that were played: bends and pressure, as the habits of the hand have them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import log2
from random import Random

from rtgen.music import midi
from rtgen.music.hand import MOST_MESSAGES, Hand, Moved, Stroke, on_channel, stands
from rtgen.music.note import Loop
from rtgen.music.time import PPQN, TICKS_PER_SIXTEENTH

_OCTAVE = 12
_MOST_HABITS, _MOST = 64, 128
"""So many notes that were played are looked at, and so many new ones are shaped: this is done while the music plays."""


@dataclass(frozen=True, slots=True)
class _Habit:
    """A note that was played, and how it was shaped.

    Args:
        stroke: the key.
        begins: what stood when it was struck, but for what was at rest.
        moves: what moved while it sounded, with the share of it that was over.
    """

    stroke: Stroke
    begins: tuple[bytes, ...]
    moves: tuple[tuple[float, bytes], ...]


def habitual(answer: Loop, calls: Sequence[Loop], share: float, seed: int) -> Loop:
    """Return an answer some of whose new notes are shaped as the most similar note that was played was.

    Similar are notes of about the same length, pitch and place in the beat; one that was played plainly has its likes
    played plainly. A curve is stretched to the length of its note. Only a note that has its channel to itself gets one,
    and everything is at rest again before the next one there. Pedals that hold notes are left out.

    Args:
        answer: with the gestures of the notes that it keeps.
        calls: what was played.
        share: of the new notes that are shaped, 0-1.
        seed: of the choice; it is the same for a note whatever notes come with it.
    """
    if not share or not any(call.hand for call in calls):
        return answer
    habits = [habit for call in calls for habit in _habits(call)]
    habits = habits[:: -(-len(habits) // _MOST_HABITS)]
    strokes = answer.strokes()
    alone = _alone(strokes)
    chosen: dict[tuple[int, int, int], tuple[Stroke, _Habit]] = {}
    for stroke in _new(strokes, calls):
        if stroke not in alone or Random(f"{seed} {stroke.onset} {stroke.pitch}").random() >= share:
            continue
        habit = min(habits, key=lambda each: _far(each.stroke, stroke))
        if habit.begins or habit.moves:
            chosen[stroke.onset, stroke.channel or 0, stroke.pitch] = stroke, habit
        if len(chosen) == _MOST:
            break
    return replace(answer, hand=_shape(answer, strokes, chosen)) if chosen else answer


def _new(strokes: Sequence[Stroke], calls: Sequence[Loop]) -> Iterator[Stroke]:
    """Yield the keys that were not played, nor moved by less than a sixteenth."""
    played: dict[int, list[int]] = {}
    for note in sorted((note for call in calls for note in call.notes), key=lambda note: note.onset):
        played.setdefault(note.pitch, []).append(note.onset)
    for stroke in strokes:
        onsets = played.get(stroke.pitch, [])
        at = bisect_right(onsets, stroke.onset - TICKS_PER_SIXTEENTH)
        if at == len(onsets) or onsets[at] >= stroke.onset + TICKS_PER_SIXTEENTH:
            yield stroke


def _alone(strokes: Sequence[Stroke]) -> set[Stroke]:
    """Return the keys that no other overlaps on their channel."""
    found: set[Stroke] = set()
    last: dict[int | None, tuple[Stroke, int]] = {}
    for stroke in sorted(strokes, key=lambda each: each.onset):
        before, end = last.get(stroke.channel, (None, stroke.onset))
        if end > stroke.onset or (before is not None and before.onset == stroke.onset):
            found.discard(before) if before is not None else None
        else:
            found.add(stroke)
        last[stroke.channel] = stroke, max(end, stroke.onset + stroke.duration)
    return found


def _far(played: Stroke, new: Stroke) -> float:
    longer = abs(log2(max(played.duration, 1) / max(new.duration, 1)))
    apart = abs(played.onset % PPQN - new.onset % PPQN)
    return longer + abs(played.pitch - new.pitch) / _OCTAVE + min(apart, PPQN - apart) / PPQN


def _habits(call: Loop) -> list[_Habit]:
    """Return the notes of a call with what shaped them."""
    by_channel: dict[int, list[tuple[int, bytes]]] = {}
    for place, (_, data) in call.hand.gestures():
        if not (data[0] & 0xF0 == 0xB0 and data[1] in midi.HOLDS):
            by_channel.setdefault(data[0] & 0x0F, []).append((place, data))
    found = []
    for stroke in call.strokes():
        struck = call.hand.messages[stroke.begins].data if call.hand else b"\x90"
        moves = by_channel.get(struck[0] & 0x0F, [])
        first = bisect_right(moves, (stroke.begins, b"\xff"))
        last = bisect_right(moves, (stroke.ends, b"\xff"))
        before = stands(data for _, data in moves[:first])
        found.append(
            _Habit(
                stroke,
                tuple(data for data in before.values() if data != midi.at_rest(midi.shape(data)) and _of(data, stroke)),
                tuple(
                    ((call.hand.messages[place].tick - stroke.onset) / max(stroke.duration, 1), data)
                    for place, data in moves[first:last]
                    if _of(data, stroke)
                ),
            )
        )
    return found


def _of(data: bytes, stroke: Stroke) -> bool:
    """Return whether a gesture on its channel is of a key: the pressure of another key is not."""
    return data[0] & 0xF0 != 0xA0 or data[1] == stroke.pitch


def _shape(answer: Loop, strokes: Sequence[Stroke], chosen: dict[tuple[int, int, int], tuple[Stroke, _Habit]]) -> Hand:
    messages = answer.hand.messages or tuple(
        sorted(
            (
                *(Moved(s.onset, midi.note_on(0, s.pitch, s.velocity)) for s in strokes),
                *(Moved(s.onset + s.duration, midi.note_off(0, s.pitch)) for s in strokes),
            ),
            key=lambda each: (each.tick, midi.is_note_on(each.data)),
        )
    )
    found: list[Moved] = []
    coming: list[Moved] = []
    bent: dict[int, dict[bytes, None]] = {}
    room = MOST_MESSAGES - len(messages)
    for each in messages:
        while coming and coming[0].tick <= each.tick:
            found.append(coming.pop(0))
        channel = each.data[0] & 0x0F
        if not midi.is_note_off(each.data):
            found += (Moved(each.tick, midi.at_rest(shape)) for shape in bent.pop(channel, {}))
        key = each.tick, channel if answer.hand.apart else 0, each.data[1]
        if midi.is_note_on(each.data) and key in chosen:
            stroke, habit = chosen[key]
            curve = [(0.0, data) for data in habit.begins] + list(habit.moves)
            room -= 2 * len(curve)
            if room >= 0:
                placed = [(share, _placed(data, channel, stroke.pitch)) for share, data in curve]
                last = stroke.onset + stroke.duration - 1
                at = [Moved(min(each.tick + round(share * stroke.duration), last), data) for share, data in placed]
                found += at[: len(habit.begins)]
                coming = sorted([*coming, *at[len(habit.begins) :]], key=lambda moved: moved.tick)
                bent[channel] = dict.fromkeys(midi.shape(data) for _, data in placed)
        found.append(each)
    return Hand((*found, *coming), answer.hand.apart)


def _placed(data: bytes, channel: int, pitch: int) -> bytes:
    """Return a gesture as it is for a key on a channel."""
    data = on_channel(data, channel)
    return bytes((data[0], pitch, data[2])) if data[0] & 0xF0 == 0xA0 else data
