"""Exact to the frame whatever the period, on JACK and on PipeWire."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest

from rtgen.bench.figures import Row
from rtgen.bench.measures import as_script, kept
from rtgen.bench.music import BAR, made_loop
from rtgen.bench.server import PipeWire, RigError, Server, TempoMap
from rtgen.bench.stage import ExactStage
from rtgen.bench.streams import sounded
from tests.busy import void

pytestmark = [pytest.mark.jack, pytest.mark.slow]
_LOOPS = 4
SERVERS: dict[str, Callable[[int], Server | PipeWire]] = {"JACK": Server.start, "PipeWire": PipeWire}


def _answers(kind: str, period: int) -> Row:
    """The errors of answers to loops, which they equal.

    Raises:
        RigError: the server let no clock through.
    """
    if kind == "PipeWire" and shutil.which("pipewire") is None:
        pytest.skip("no pipewire; on Debian: apt-get install pipewire pipewire-jack")
    try:
        server = SERVERS[kind](period)
    except RigError as error:
        pytest.skip(str(error))
    played = [made_loop(seed, 1) for seed in range(_LOOPS)]
    with ExactStage(server) as stage, stage.playing("daemon", use="follow", bars=1, distance=0) as program:
        capture = stage.perform(program, TempoMap((0, 120)), as_script(played), (_LOOPS + 1) * BAR)
        sounded(capture.output)  # which raises if a note were left sounding
        if not capture.clock:
            raise RigError(f"no clock came, with {len(capture.xruns)} xruns")
    return Row.timed("", "", [kept(capture, played, stage.period_ms)])


@pytest.mark.parametrize("period", [64, 256, 1024])
@pytest.mark.parametrize("kind", SERVERS)
def test_it_answers(kind: str, period: int) -> None:
    assert _answers(kind, period).values


@pytest.mark.timed
@pytest.mark.parametrize("period", [64, 256, 1024])
@pytest.mark.parametrize("kind", SERVERS)
def test_it_is_exact(request: pytest.FixtureRequest, kind: str, period: int) -> None:
    try:
        row = _answers(kind, period)
    except RigError as error:
        void(request.node, str(error))
    assert row.values
    if not row.calm:
        void(request.node, f"{row.xruns} xruns of the server left nothing to measure")
    assert row.p99_calm <= 0.1
