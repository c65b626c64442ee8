from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rtgen.instrument.player import LATE_S, THRU, Ledger, Player
from rtgen.music.note import Loop, Note
from tests.instrument.ledger import check


def at(tick: int) -> float:
    """A thousand ticks a second."""
    return tick / 1000


def on(pitch: int, velocity: int = 80) -> bytes:
    return bytes((0x90, pitch, velocity))


def off(pitch: int) -> bytes:
    return bytes((0x80, pitch, 0))


def loop(*notes: Note) -> Loop:
    return Loop(1000, notes)


def test_notes_are_sent_when_they_are_due() -> None:
    player = Player(Ledger())
    player.replace(loop(Note(100, 60, 50)), 1000, 1000)
    assert player.next_tick() == 1100
    assert player.due(1.099, at) == []
    assert player.due(1.1, at) == [on(60)]
    assert player.due(1.15, at) == [off(60)]
    assert player.next_tick() is None


def test_at_equal_ticks_ends_come_first() -> None:
    player = Player(Ledger())
    player.replace(loop(Note(0, 60, 10), Note(10, 60, 10), Note(10, 59, 5)), 0, 0)
    player.due(0.005, at)
    assert player.due(0.01, at) == [off(60), on(59), on(60)]


def test_replacing_ends_what_sounds_at_the_boundary() -> None:
    player = Player(Ledger())
    player.replace(loop(Note(0, 60, 2000), Note(1200, 61, 10)), 0, 0)
    player.due(0.0, at)
    player.replace(loop(Note(0, 70, 10)), 1000, 1000)
    assert player.due(0.999, at) == []
    assert player.due(1.0, at) == [off(60), on(70)]
    assert player.due(3.0, at) == [off(70)]


def test_an_early_downbeat_sounds_early_and_ends_the_same_pitch_before_it() -> None:
    player = Player(Ledger())
    player.replace(loop(Note(0, 60, 1000)), 0, 0)
    player.due(0.0, at)
    player.replace(loop(Note(-20, 60, 100)), 1000, 1000)
    assert player.due(0.98, at) == [off(60), on(60)]
    assert player.due(1.0, at) == []
    assert player.due(1.08, at) == [off(60)]


def test_an_answer_that_comes_late_leaves_out_what_is_past() -> None:
    player = Player(Ledger())
    player.replace(loop(Note(0, 60, 900), Note(500, 61, 10), Note(600, 62, 10)), 0, 500)
    assert player.due(10.0, at) == []  # too late for all
    player.replace(loop(Note(0, 60, 900), Note(500, 61, 10)), 0, 500)
    assert player.due(0.5, at) == [on(61)]


def test_a_note_too_late_is_dropped_whole_and_an_end_never() -> None:
    player = Player(Ledger())
    player.replace(loop(Note(0, 60, 10), Note(0, 61, 500)), 0, 0)
    assert player.due(LATE_S - 0.001, at) == [on(60), on(61), off(60)]
    player.replace(loop(Note(0, 62, 10)), 100, 100)
    assert player.due(5.0, at) == [off(61)]


def test_what_goes_through_and_what_is_played_share_a_key() -> None:
    ledger = Ledger()
    player = Player(ledger)
    player.replace(loop(Note(0, 60, 100)), 0, 0)
    sent = player.due(0, at)
    sent += ledger.begin((0, 60), 90, THRU)
    sent += player.due(0.1, at)  # its end is void: the key was struck anew
    assert sent == [on(60), off(60), on(60, 90)]
    assert ledger.release(thru=False) == []
    assert ledger.release(thru=True) == [off(60)]


def test_the_pedal_that_went_through_is_lifted() -> None:
    ledger = Ledger()
    assert ledger.shape(bytes((0xB2, 64, 40)), thru=True) == [bytes((0xB2, 64, 40))]
    assert ledger.release(thru=True) == [bytes((0xB2, 64, 0))]
    assert ledger.release(thru=True) == []


def test_panic_ends_what_is_known_and_what_is_not() -> None:
    ledger = Ledger()
    ledger.begin((3, 60), 90, 1)
    assert ledger.panic() == [bytes((0x83, 60, 0)), *(bytes((0xB3, n, 0)) for n in (64, 123, 120))]


notes = st.builds(Note, st.integers(-50, 999), st.integers(60, 63), st.integers(1, 1500), st.integers(1, 127))
steps = st.one_of(
    st.tuples(st.just("wait"), st.floats(0, 1)),
    st.tuples(st.just("play"), st.lists(notes, max_size=6)),
    st.tuples(st.just("clear"), st.none()),
    st.tuples(st.just("thru"), st.tuples(st.booleans(), st.integers(60, 63))),
)


@given(st.lists(steps, max_size=40))
def test_whatever_is_played_every_note_ends_once(script: list[tuple[str, object]]) -> None:
    ledger = Ledger()
    player = Player(ledger)
    now = 0.0
    sent: list[bytes] = []
    for what, value in script:
        if what == "wait":
            assert isinstance(value, float)
            now += value
            sent += player.due(now, at)
        elif what == "play":
            assert isinstance(value, list)
            player.replace(Loop(1000, tuple(value)), round(now * 1000) + 100, round(now * 1000) + 100)
        elif what == "clear":
            player.clear()
            sent += ledger.release(thru=False)
        else:
            assert isinstance(value, tuple)
            down, pitch = value
            sent += ledger.begin((0, pitch), 80, THRU) if down else ledger.end((0, pitch), THRU)
        check(sent, ended=False)
    sent += ledger.release(thru=True)
    check(sent)
