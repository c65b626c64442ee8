from __future__ import annotations

import threading
from queue import Empty

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtgen.instrument.events import Pressed, Received
from rtgen.rig.inbox import CALM, FULL, Inbox

OFF, PEDAL, CLOCK = bytes((0x80, 60, 0)), bytes((0xB0, 64, 0)), b"\xf8"


def drain(inbox: Inbox) -> list[bytes]:
    out = []
    while True:
        try:
            event = inbox.get(0)[1]
        except Empty:
            return out
        assert isinstance(event, Received)
        out.append(event.data)


def test_all_comes_out_in_order_while_there_is_room() -> None:
    inbox = Inbox()
    messages = [bytes((0xB0, 1, n % 128)) for n in range(CALM)]
    for n, data in enumerate(messages):
        inbox.receive(float(n), 0, data)
    assert drain(inbox) == messages
    assert inbox.dropped(0.0) is None


def test_of_a_controller_that_floods_the_last_value_is_heard() -> None:
    inbox = Inbox()
    for n in range(10_000):
        inbox.receive(0.0, 0, bytes((0xB0, n % 2, n % 128)))
        inbox.receive(0.0, 0, bytes((0xE0, n % 128, 1)))
    assert inbox.waiting <= CALM + 4  # and the mark
    heard = drain(inbox)
    assert set(heard[-3:]) == {bytes((0xB0, 0, 9998 % 128)), bytes((0xB0, 1, 9999 % 128)), bytes((0xE0, 9999 % 128, 1))}
    counts = inbox.dropped(0.0)
    assert counts is not None
    assert counts.counts == {"controllers": 20_000 - len(heard)}


def test_an_old_value_never_comes_after_a_newer_one() -> None:
    inbox = Inbox()
    for n in range(CALM + 10):
        inbox.receive(0.0, 0, bytes((0xB0, 1, n // 4)))
    taken = [inbox.get(0)[1] for _ in range(CALM // 2 + 20)]
    inbox.receive(0.0, 0, bytes((0xB0, 1, 127)))
    values = [e.data[2] for e in taken if isinstance(e, Received)] + [data[2] for data in drain(inbox)]
    assert values == sorted(values)
    assert values[-1] == 127


@given(st.lists(st.sampled_from([OFF, PEDAL, CLOCK, b"\xfa", b"\xf2\x01\x02", bytes((0xB0, 123, 0)), b"\xc0\x05"])))
def test_ends_pedals_clock_and_transport_are_never_dropped(messages: list[bytes]) -> None:
    inbox = Inbox()
    for _ in range(FULL + 10):
        inbox.receive(0.0, 0, CLOCK)
    for data in messages:
        inbox.receive(0.0, 0, data)
        inbox.receive(0.0, 0, bytes((0x90, 60, 1)))
    assert drain(inbox) == [CLOCK] * (FULL + 10) + messages
    counts = inbox.dropped(0.0)
    assert (counts.counts if counts else {}) == ({"notes": len(messages)} if messages else {})


@given(st.binary(min_size=1, max_size=5))
def test_no_message_however_malformed_raises(data: bytes) -> None:
    inbox = Inbox()
    for _ in range(FULL):
        inbox.receive(0.0, 0, CLOCK)
    inbox.receive(0.0, 0, data)
    assert len(drain(inbox)) in (FULL, FULL + 1)


def test_what_was_dropped_is_told_once_a_second() -> None:
    inbox = Inbox()
    for now in 5.0, 5.5, 6.1:
        for _ in range(FULL + 1):
            inbox.receive(now, 0, bytes((0x90, 60, 1)))
        told = inbox.dropped(now)
        assert (told is None) == (now == 5.5)
    assert told is not None
    assert inbox.dropped(8.0) is None


def test_what_does_not_come_from_a_port_is_never_dropped_and_wakes_who_waits() -> None:
    inbox = Inbox()
    got = []
    thread = threading.Thread(target=lambda: got.append(inbox.get(None)))
    thread.start()
    inbox.put(1.0, Pressed("panic"))
    thread.join(5)
    assert got == [(1.0, Pressed("panic"))]
    with pytest.raises(Empty):
        inbox.get(0.01)
