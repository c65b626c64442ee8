from __future__ import annotations

import itertools
import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from rtgen.music.midi import Parser


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


def wire_message() -> st.SearchStrategy[bytes]:
    """A message as the wire carries it, in full."""
    data = st.integers(0, 127)
    three = st.tuples(st.integers(0x80, 0xEF).filter(lambda s: s & 0xF0 not in (0xC0, 0xD0)), data, data)
    two = st.tuples(st.integers(0xC0, 0xDF), data)
    position = st.tuples(st.just(0xF2), data, data)
    return st.one_of(three, two, position).map(bytes)


REAL_TIME = st.sampled_from([b"\xf8", b"\xfa", b"\xfb", b"\xfc"])
EXCLUSIVE = st.binary(max_size=30).map(lambda d: b"\xf0" + bytes(b & 0x7F for b in d) + b"\xf7")
STREAM = st.lists(st.one_of(wire_message(), REAL_TIME, EXCLUSIVE), max_size=20)


@given(STREAM)
def test_every_valid_stream_comes_out_as_it_went_in(stream: list[bytes]) -> None:
    assert parse(b"".join(stream)) == [m for m in stream if m[0] != 0xF0]


@given(STREAM, st.data())
def test_a_prefix_gives_a_prefix(stream: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(stream)
    cut = data.draw(st.integers(0, len(whole)))
    some = parse(whole[:cut])
    assert some == parse(whole)[: len(some)]


@given(STREAM, st.data())
def test_real_time_bytes_anywhere_change_nothing_else(stream: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(stream)
    at = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=5)))
    edges = [0, *at, len(whole)]
    disturbed = b"\xf8".join(whole[a:b] for a, b in itertools.pairwise(edges))
    got = parse(disturbed)
    assert [m for m in got if m != b"\xf8"] == [m for m in parse(whole) if m != b"\xf8"]
    assert got.count(b"\xf8") == parse(whole).count(b"\xf8") + len(at)


@given(STREAM, st.data())
def test_a_corrupted_byte_spoils_no_more_than_it_must(stream: list[bytes], data: st.DataObject) -> None:
    whole = bytearray(b"".join(stream))
    for at in data.draw(st.lists(st.integers(0, max(len(whole) - 1, 0)), max_size=4)) if whole else []:
        whole[at] = data.draw(st.integers(0, 255))
    # Whatever came before: what begins with a status byte of its own is understood again.
    end = bytes((0x80, 60, 0))
    assert parse(bytes(whole), end)[-1] == end


def test_an_endless_exclusive_message_takes_no_memory() -> None:
    parser = Parser()
    piece = bytes(1000)
    parser.feed(b"\xf0")
    tracemalloc.start()
    for _ in range(1000):
        assert parser.feed(piece) == []
        assert parser.feed(b"\xf8") == [b"\xf8"]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10_000
    assert parser.feed(b"\xf7\x90\x3c\x40") == [b"\x90\x3c\x40"]
