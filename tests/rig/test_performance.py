import pytest

from rtgen.music import key
from rtgen.music.files import Event, notes_of
from rtgen.rig import performance as p

EARLY = 25
"""Ticks: no note comes sooner before its downbeat, and none ends later than this before the next loop."""


def struck(event: Event) -> bool:
    return event.data[0] == 0x90 and event.data[2] > 0


def call(events: tuple[Event, ...], loop: int, length: int = p.PHRASE) -> list[Event]:
    """The events of a loop, those a little before its downbeat too, counted from its start."""
    start = loop * length
    return [Event(e.tick - start, e.data) for e in events if start - EARLY <= e.tick < start + length - EARLY]


def test_voices_fill_exactly_two_bars():
    for phrase in p._PHRASES:
        for _, *bars in phrase.voices:
            sums = [sum(int(t.split("/")[1].rstrip("'!~*?")) for t in bar.split()) for bar in bars]
            assert sums == [16, 16], bars


def test_is_the_same_every_time():
    assert p.performance(12) == p.performance(12)


def test_plays_in_even_loops_and_leaves_the_odd_ones_to_the_answer():
    events = p.performance(10)
    assert events[0].tick >= 0
    loops = {(e.tick + EARLY) // p.PHRASE for e in events}
    assert loops == {0, 2, 4, 6, 8}


def test_phrases_differ_and_come_round_again_played_anew():
    events = p.performance(2 * len(p._PHRASES) + 2)
    calls = [call(events, loop) for loop in range(0, 2 * len(p._PHRASES) + 2, 2)]
    pitches = [tuple(e.data[1] for e in c if struck(e)) for c in calls]
    assert len(set(pitches[:-1])) == len(p._PHRASES) >= 4
    assert sorted(pitches[-1]) == sorted(pitches[0])
    assert calls[-1] != calls[0]


@pytest.mark.parametrize(("loops", "length"), [(9, 3840), (4, 1920), (4, 7680), (3, 2880), (2, 480)])
def test_every_note_and_the_pedal_is_let_go_before_the_loop_ends(loops, length):
    sounding: set[int] = set()
    pedal = False
    for event in p.performance(loops, length):
        status, one, two = event.data
        if status == 0xB0:
            assert one == 64
            pedal = two >= 64
        elif status == 0x90 and two:
            assert one not in sounding
            sounding.add(one)
        else:
            sounding.remove(one)
        assert (event.tick + EARLY) // length % 2 == 0
    assert not sounding
    assert not pedal


def test_stays_in_f_major_and_d_minor():
    events = p.performance(2 * len(p._PHRASES))
    for loop in range(0, 2 * len(p._PHRASES), 2):
        found = key.estimate(notes_of(call(events, loop)))
        assert str(found) in ("F major", "D minor"), loop


def test_is_played_not_quantised():
    events = p.performance(2)
    off_grid = [((e.tick + 60) % 120) - 60 for e in events if struck(e)]
    assert len(set(off_grid)) > 8
    assert max(map(abs, off_grid)) < 45
    assert len({e.data[2] for e in events if struck(e)}) > 12


def test_the_pedal_changes_with_the_harmony():
    lifts = [e.tick for e in call(p.performance(4), 2) if e.data[:2] == b"\xb0\x40" and e.data[2] == 0]
    assert len(lifts) == 4
    assert all(0 < tick - 960 * (i + 1) < 40 for i, tick in enumerate(lifts[:3]))
