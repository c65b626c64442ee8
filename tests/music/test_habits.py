"""New notes are bent and pressed as the player's own are."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtgen.music import midi
from rtgen.music.habits import habitual
from rtgen.music.hand import Hand, Moved
from rtgen.music.note import Loop, Note
from rtgen.music.shaped import shaped
from rtgen.music.time import PPQN

BAR = 4 * PPQN


def bend(value: int, channel: int = 0) -> bytes:
    return bytes((0xE0 | channel, 0, value))


def played() -> Loop:
    """A short note, then a long one that is bent up from below and back."""
    messages = (
        Moved(0, midi.note_on(0, 60, 80)),
        Moved(100, midi.note_off(0, 60)),
        Moved(480, bend(40)),
        Moved(480, midi.note_on(0, 67, 80)),
        Moved(720, bend(60)),
        Moved(960, bend(64)),
        Moved(1440, midi.note_off(0, 67)),
    )
    return Loop(BAR, (Note(0, 60, 100), Note(480, 67, 960)), hand=Hand(messages))


def gestures(loop: Loop) -> list[tuple[int, bytes]]:
    return [(moved.tick, moved.data) for _, moved in loop.hand.gestures()]


def test_a_long_note_is_bent_as_the_long_one_was_and_a_short_one_is_plain() -> None:
    answer = Loop(BAR, (Note(0, 62, 90), Note(480, 70, 480)))
    found = habitual(answer, [played()], 1.0, 0)
    assert gestures(found) == [(480, bend(40)), (600, bend(60)), (720, bend(64))]
    assert [(s.onset, s.pitch, s.duration) for s in found.strokes()] == [(0, 62, 90), (480, 70, 480)]


def test_at_0_nothing_changes_and_what_was_played_without_gestures_gives_none() -> None:
    answer = Loop(BAR, (Note(480, 70, 480),))
    assert habitual(answer, [played()], 0.0, 0) is answer
    assert habitual(answer, [played().without_hand()], 1.0, 0) is answer


def test_kept_notes_stay_as_they_were_played() -> None:
    call = played()
    answer = shaped(Loop(BAR, (*call.notes, Note(1500, 65, 400))), [call])
    found = habitual(answer, [call], 1.0, 0)
    own = [each for each in gestures(found) if each[0] < 1500]
    assert own == gestures(answer)
    assert [data for _, data in gestures(found)][len(own) :] == [bend(40), bend(60), bend(64)]


def test_a_note_beside_another_is_left_alone() -> None:
    answer = Loop(BAR, (Note(480, 70, 480), Note(500, 74, 480)))
    assert habitual(answer, [played()], 1.0, 0) is answer


def test_everything_is_at_rest_before_the_next_note() -> None:
    call = replace(played(), hand=Hand(played().hand.messages[:-2] + played().hand.messages[-1:]))  # bent to the end
    answer = Loop(BAR, (Note(0, 70, 900), Note(960, 72, 90)))
    found = habitual(answer, [call], 1.0, 0)
    before = [data for tick, data in found.hand.messages if tick <= 960 and not midi.is_note(data)]
    assert before[-1] == bend(64)
    struck = found.hand.messages.index(Moved(960, midi.note_on(0, 72, 80)))
    assert found.hand.messages[struck - 1] == Moved(960, bend(64))


def test_pressure_of_a_key_is_that_of_the_new_key() -> None:
    messages = (
        Moved(0, midi.note_on(0, 60, 80)),
        Moved(100, bytes((0xA0, 60, 99))),
        Moved(480, midi.note_off(0, 60)),
    )
    call = Loop(BAR, (Note(0, 60, 480),), hand=Hand(messages))
    found = habitual(Loop(BAR, (Note(960, 64, 480),)), [call], 1.0, 0)
    assert gestures(found) == [(1060, bytes((0xA0, 64, 99)))]


def test_each_note_keeps_its_channel() -> None:
    messages = (
        Moved(0, midi.note_on(1, 60, 80)),
        Moved(0, midi.note_on(2, 64, 80)),
        Moved(200, bend(90, 2)),
        Moved(480, midi.note_off(1, 60)),
        Moved(480, midi.note_off(2, 64)),
    )
    call = Loop(BAR, (Note(0, 60, 480), Note(0, 64, 480)), hand=Hand(messages, apart=True))
    answer = shaped(Loop(BAR, (Note(0, 60, 480), Note(960, 65, 480))), [call])
    found = habitual(answer, [call], 1.0, 0)
    (new,) = [stroke for stroke in found.strokes() if stroke.pitch == 65]
    assert gestures(found) == [(1160, bend(90, new.channel or 0))]


def test_a_share_of_them_is_shaped_and_always_the_same() -> None:
    answer = Loop(8 * BAR, tuple(Note(960 * i, 70 + i % 3, 900) for i in range(16)))
    found = [habitual(answer, [played()], share, 3) for share in (0.3, 0.3, 0.6, 1.0)]
    bent = [sum(data == bend(40) for _, data in gestures(each)) for each in found]
    assert found[0] == found[1]
    assert 0 < bent[0] < bent[2] < bent[3] == 16
    part = answer.with_notes(answer.notes[:8])
    first = [each for each in gestures(habitual(part, [played()], 0.3, 3)) if each[0] < 7 * 960]
    assert first == [each for each in gestures(found[0]) if each[0] < 7 * 960]


NOTES = st.lists(st.builds(Note, st.integers(0, BAR - 1), st.integers(58, 62), st.integers(1, 900)), max_size=8).map(
    lambda notes: Loop(BAR, tuple(notes)).monophonic_by_pitch()
)


@settings(max_examples=60, deadline=None)
@given(answer=NOTES, seed=st.integers(0, 5))
def test_whatever_the_notes_are_they_stay(answer: Loop, seed: int) -> None:
    found = habitual(answer, [played()], 0.8, seed)
    assert found.notes == answer.notes
    key = lambda s: (s.onset, s.pitch, s.duration, s.velocity)  # noqa: E731
    assert sorted(map(key, found.strokes())) == sorted(map(key, answer.strokes()))
    ticks = [moved.tick for moved in found.hand.messages]
    assert ticks == sorted(ticks)


@pytest.mark.parametrize("notes", [2000])
def test_it_is_done_soon_whatever_comes(notes: int) -> None:
    many = Loop(8 * BAR, tuple(Note(i * 7, 30 + i % 60, 5) for i in range(notes)))
    found = habitual(many, [played()], 1.0, 0)
    assert sum(data == bend(40) for _, data in gestures(found)) <= 128
