from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from rtgen.instrument.midi import Parser


def parse(*chunks: bytes) -> list[bytes]:
    parser = Parser()
    return [message for chunk in chunks for message in parser.feed(chunk)]


def test_messages_are_cut_out_of_a_stream() -> None:
    assert parse(b"\x90\x3c\x40\xc0\x05\xf8") == [b"\x90\x3c\x40", b"\xc0\x05", b"\xf8"]


def test_running_status_is_known() -> None:
    assert parse(b"\x90\x3c\x40\x3c\x00\x3e\x40") == [b"\x90\x3c\x40", b"\x90\x3c\x00", b"\x90\x3e\x40"]


def test_real_time_bytes_may_stand_inside_a_message() -> None:
    assert parse(b"\x90\xf8\x3c\xfa\x40") == [b"\xf8", b"\xfa", b"\x90\x3c\x40"]


def test_exclusive_is_passed_over_and_ends_running_status() -> None:
    assert parse(b"\x90\x3c\x40\xf0\x3c\x40\xf7\x3c\x40\x80\x3c\x40") == [b"\x90\x3c\x40", b"\x80\x3c\x40"]


def test_a_message_cut_short_is_dropped() -> None:
    assert parse(b"\x90\x3c\x80\x3c\x40") == [b"\x80\x3c\x40"]


def test_song_position_has_two_data_bytes_and_no_running_status() -> None:
    assert parse(b"\xf2\x01\x02\x03\x04") == [b"\xf2\x01\x02"]


@given(st.binary(max_size=120), st.lists(st.integers(0, 120), max_size=8))
def test_chunking_changes_nothing(data: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(data)]
    chunks = [data[a:b] for a, b in itertools.pairwise(edges)]
    assert parse(*chunks) == parse(data)


@given(st.binary(max_size=200))
def test_what_comes_out_is_well_formed(data: bytes) -> None:
    for message in parse(data):
        assert message[0] >= 0x80
        assert all(byte < 0x80 for byte in message[1:])
