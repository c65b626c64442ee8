"""Records cross from one process to another in order, and none is lost or torn."""

from __future__ import annotations

import os
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from rtgen.rig.midi.ring import _ROOM, Ring, share

READER = """
import os, sys
from rtgen.rig.midi.ring import Ring
ring, count = Ring(int(sys.argv[1])), 0
while count < int(sys.argv[2]):
    for at, number, data in ring.take():
        assert (at, number, data) == (count * 0.5, count % 251, (count % 2**24).to_bytes(3, "big")), count
        count += 1
print(count)
"""


def ends() -> tuple[Ring, Ring]:
    fd = share()
    try:
        return Ring(fd), Ring(fd)
    finally:
        os.close(fd)


@given(st.lists(st.one_of(st.binary(max_size=6), st.none()), max_size=50))
def test_what_is_put_is_taken_in_order(story: list[bytes | None]) -> None:
    put, take = ends()
    expected: list[bytes] = []
    for n, step in enumerate(story):
        if step is None:
            assert [data for _, _, data in take.take()] == expected
            expected = []
        else:
            assert put.put(float(n), n, step)
            expected.append(step)
    assert [data for _, _, data in take.take()] == expected
    assert take.take() == []


def test_a_full_ring_takes_no_more_until_there_is_room() -> None:
    put, take = ends()
    for _ in range(3):
        assert all(put.put(0.0, 0, b"abc") for _ in range(_ROOM))
        assert not put.put(0.0, 0, b"abc")
        assert len(take.take()) == _ROOM


def test_another_process_reads_while_this_one_writes() -> None:
    fd, count = share(), 100_000
    command = [sys.executable, "-c", READER, str(fd), str(count)]
    with subprocess.Popen(command, pass_fds=(fd,), stdout=subprocess.PIPE, text=True) as reader:
        ring = Ring(fd)
        os.close(fd)
        for n in range(count):
            while not ring.put(n * 0.5, n % 251, (n % 2**24).to_bytes(3, "big")):
                assert reader.poll() is None
        said, _ = reader.communicate(timeout=60)
    assert said == f"{count}\n"
