"""Whatever is planned and taken back, every note that begins ends once, and none begins that was taken back."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from rtgen.instrument.player import THRU, Ledger
from rtgen.rig.midi.schedule import Schedule

ON, OFF = b"\x90\x3c\x50", b"\x80\x3c\x00"
OTHER = b"\x90\x3e\x50"
AHEAD_S, PERIOD_S = 0.005, 0.02


def sent(schedule: Schedule, until: float = 1e9) -> list[bytes]:
    return [data for _, data in schedule.take(until)]


def test_messages_leave_in_order_of_time_and_equal_times_as_they_came() -> None:
    schedule = Schedule()
    schedule.add(2.0, OTHER)
    schedule.add(1.0, ON)
    schedule.add(2.0, OFF)
    schedule.add(0.5, b"\xfa")
    assert schedule.take(1.5) == [(0.5, b"\xfa"), (1.0, ON)]
    assert schedule.take(2.0) == []
    assert schedule.take(2.1) == [(2.0, OTHER), (2.0, OFF)]
    assert not schedule


def test_a_note_that_was_taken_back_neither_begins_nor_ends() -> None:
    schedule = Schedule()
    schedule.add(1.0, ON)
    schedule.take_back(0.9)
    schedule.add(0.9, OFF)
    schedule.add(0.9, OFF)  # another end is not held back
    assert sent(schedule) == [OFF]


def test_a_bend_that_was_taken_back_does_not_come_after_the_one_that_ends_it() -> None:
    schedule = Schedule()
    schedule.add(1.0, b"\xe0\x00\x50")
    schedule.add(1.02, b"\xe0\x00\x60")
    schedule.take_back(1.01)
    schedule.add(1.01, b"\xe0\x00\x40")
    assert sent(schedule) == [b"\xe0\x00\x50", b"\xe0\x00\x40"]


def test_no_clock_comes_after_a_stop() -> None:
    schedule = Schedule()
    for at, data in ((1.0, b"\xf8"), (1.02, b"\xf8"), (1.02, OFF)):
        schedule.add(at, data)
    schedule.take_back(1.01)
    schedule.add(1.01, b"\xfc")
    assert sent(schedule) == [b"\xf8", b"\xfc", OFF]


def test_a_note_that_sounds_is_ended_though_its_planned_end_comes_as_well() -> None:
    schedule = Schedule()
    schedule.add(1.0, ON)
    assert sent(schedule, 1.1) == [ON]
    schedule.add(2.0, OFF)
    schedule.add(2.0, ON)
    schedule.take_back(1.5)
    schedule.add(1.5, OFF)
    assert sent(schedule) == [OFF]


def test_a_key_that_is_played_is_not_ended_by_the_note_before() -> None:
    schedule = Schedule()
    schedule.add(1.0, ON)
    assert sent(schedule, 1.1) == [ON]
    schedule.add(2.0, OFF)
    schedule.add(1.9, ON)
    assert sent(schedule, 3.0) == [OFF, ON]
    schedule.add(3.0, OFF)
    assert sent(schedule) == [OFF]


def test_what_had_no_room_leaves_first_and_in_order() -> None:
    schedule = Schedule()
    for i in range(5):
        schedule.add(float(i), bytes((0xB0, i, 0)))
    schedule.add(4.0, ON)
    taken = schedule.take(4.5)
    schedule.give_back(taken[2:])
    assert len(schedule) == 4
    schedule.add(0.0, OFF)
    assert sent(schedule) == [data for _, data in taken[2:]] + [OFF]


GESTURES = st.tuples(
    st.sampled_from(("press", "release", "begin", "end", "break", "panic")), st.integers(0, 2), st.floats(0, 0.012)
)


# A key overtakes the end of a planned note twice, and the first of the ends was taken for the second.
@example(
    [
        ("begin", 0, 0.0),
        ("begin", 0, 0.0),
        ("press", 0, 0.0),
        ("begin", 0, 0.0078125),
        ("begin", 0, 0.0),
        ("press", 0, 0.0),
    ]
)
@given(st.lists(GESTURES, max_size=60))
def test_every_note_that_begins_ends_once(story: list[tuple[str, int, float]]) -> None:
    """A ledger whose player plans ahead, a keyboard that is passed through, breaks, and a port with long periods."""
    ledger, schedule = Ledger(), Schedule()
    now, cycle, owner = 0.0, 0.0, THRU
    heard: list[tuple[float, bytes]] = []
    planned: dict[int, float] = {}  # by velocity
    void: set[int] = set()
    playing: list[tuple[tuple[int, int], int]] = []

    def pass_time(seconds: float) -> None:
        nonlocal now, cycle
        now += seconds
        while cycle + PERIOD_S <= now:
            cycle += PERIOD_S
            # What is due in a cycle is written at its beginning, a period later than it was planned.
            for at, data in schedule.take(cycle):
                heard.append((max(at, cycle - PERIOD_S), data))

    def send(messages: list[bytes], at: float) -> None:
        if ledger.took_back():
            schedule.take_back(now)
            void.update(velocity for velocity, at in planned.items() if at > now)
        for data in messages:
            schedule.add(at, data)

    for kind, pitch, seconds in story:
        key = (0, 60 + pitch)
        match kind:
            case "press":
                send(ledger.begin(key, 127, THRU), now)
            case "release":
                send(ledger.end(key, THRU), now)
            case "begin":
                owner += 1
                playing.append((key, owner))
                planned[owner] = now + AHEAD_S
                send(ledger.begin(key, owner, owner), now + AHEAD_S)
            case "end" if playing:
                ended, its = playing.pop(0)
                send(ledger.end(ended, its), now + AHEAD_S)
            case "break":
                playing.clear()
                send(ledger.release(thru=False), now)
            case "panic":
                playing.clear()
                send(ledger.release(thru=True), now)
        pass_time(seconds)
    send(ledger.release(thru=True), now)
    pass_time(1.0)
    assert not schedule

    sounding: set[int] = set()
    for _, data in heard:
        if data[0] & 0xF0 == 0x90:
            assert data[1] not in sounding, "struck while it sounds"
            assert data[2] not in void, "begins though it was taken back"
            sounding.add(data[1])
        elif data[0] & 0xF0 == 0x80:
            assert data[1] in sounding, "ended though it does not sound"
            sounding.remove(data[1])
    assert not sounding
