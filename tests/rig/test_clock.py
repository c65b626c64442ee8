"""The daemon on servers with other periods, where the clock comes in lumps, and with a clock that jitters on purpose.

What is late by a constant is the player's to correct (`clock_offset_ms`): asserted is that answers are complete, and
that their notes are evenly late. A period of the server is how finely a note is heard, and again how finely it sounds.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

import pytest

from rtgen.bench.music import BAR, made_loop
from rtgen.bench.programs import daemon, preset_file
from rtgen.bench.server import CLOCK_OUT, PROBE_CLOCK, RATE, Clock, Probe, Server, TempoMap, missing
from rtgen.bench.streams import compare, milliseconds, within
from tests.rig.conftest import ROOM_MS, Rig

pytestmark = [pytest.mark.jack, pytest.mark.timed]

BUSY_MS = 4.0
"""How far off notes may be beyond two periods, on a machine that has more to do."""


@contextmanager
def playing(test: pytest.Item, folder: Path, period: int, jitter: float = 0.0) -> Iterator[Rig]:
    """A rig of its own, with the daemon connected and ready; it must end of itself."""
    if reason := missing():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"no JACK rig: {reason}")
    with ExitStack() as stack:
        server = stack.enter_context(Server.start(period))
        stack.enter_context(Clock(server, jitter))
        probe = stack.enter_context(Probe(server))
        probe.connect((CLOCK_OUT, PROBE_CLOCK))
        flags = ("--preset", str(preset_file(folder)), "--seed", "1", "--bars", "1", "--no-thru")
        program = stack.enter_context(daemon(server, *flags))
        program.attach(probe, CLOCK_OUT)
        program.wait_for_line("model ready")
        probe.take()
        yield Rig(server, probe, test)
        assert program.end() == 0, program.said


def even_answers(rig: Rig, tempo: float, room_ms: float) -> None:
    """Plays two calls, and asserts that both are answered whole, with the notes so close to the clock's own grid."""
    calls = [made_loop(seed, bars=1) for seed in (round(tempo), round(tempo) + 1)]
    rig.probe.rewind()
    rig.probe.take()
    rig.perform(TempoMap((0, tempo)), [(0, calls[0]), (2 * BAR, calls[1])], 4 * BAR)
    heard = rig.heard()
    room_ms += heard.room_ms - ROOM_MS
    (run,) = heard.runs
    late: list[float] = []
    for call, start in zip(calls, (BAR, 3 * BAR), strict=True):
        # The bars around are silent.
        answer = within(heard.notes, run, start - BAR // 4, start + BAR + BAR // 4)
        late += [milliseconds(d.on) for d in compare(call.notes, answer, run, start)]
    late_by = median(late)
    off = sorted(abs(ms - late_by) for ms in late)
    p95 = off[int(0.95 * len(off))]
    print(
        f"{rig.server.period} frames, {tempo:g} BPM: median {late_by:.2f} ms, p95 {p95:.2f}, max {off[-1]:.2f} from it"
    )
    assert abs(late_by) < room_ms
    assert p95 < room_ms


@pytest.mark.parametrize(("period", "tempos"), [(64, (120,)), (256, (120, 174)), (1024, (120, 174))])
def test_loops_are_answered_evenly_whatever_the_period(
    request: pytest.FixtureRequest, tmp_path: Path, period: int, tempos: tuple[int, ...]
) -> None:
    with playing(request.node, tmp_path, period) as rig:
        for tempo in tempos:
            even_answers(rig, tempo, 2 * 1000 * period / RATE + BUSY_MS)


def test_a_clock_that_wanders_by_a_fifth_of_itself_is_followed(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Its jitter adds up: what it is later by now it stays later by, and so it cannot be told from a tempo.

    By chance: over the 192 clocks of a loop the deviation is 1.6 clocks, and five are three of these.
    """
    with playing(request.node, tmp_path, 64, jitter=20) as rig:
        even_answers(rig, 120, 5 * 2.5 / 120 * 1000)
