"""The daemon ends, or loses its JACK server, while messages arrive: it never crashes."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from rtgen.bench.programs import daemon, preset_file
from rtgen.bench.server import RigError, wait_until
from tests.rig.conftest import Rig
from tests.rig.test_flood import flood
from tests.rig.test_unplugged import Stage, run_daemon, stage

__all__ = ["stage"]

pytestmark = pytest.mark.jack
RATE = 1400
"""Messages a second: 200 each of notes, ends, controllers, bends, pressures and clocks, and exclusive ones of 1 MB."""


SIGNALS = [
    each
    for each in (signal.SIGTERM, signal.SIGINT, getattr(signal, "SIGHUP", signal.SIGTERM))
    if signal.getsignal(each) is not signal.SIG_IGN  # as under `nohup`, which the daemon keeps to
]


def begin(load: subprocess.Popen[str]) -> None:
    assert load.stdin
    load.stdin.write("\n")
    load.stdin.flush()


def end_under_load(rig: Rig, folder: Path, times: int) -> None:
    chance = random.Random(times)
    flags = "--preset", str(preset_file(folder)), "--osc", "off"
    codes: list[int] = []
    refused = 0
    while len(codes) < times:
        with daemon(rig.server, *flags) as program, flood(rig.server, RATE) as load:
            try:
                program.wait_for_line("ports open")
                rig.probe.connect(("flood:out", program.input))
            except RigError:
                # A client that is opened while another one is, on another server, is refused now and then.
                refused += 1
                assert "JACK is not running" in program.said, program.said
                assert refused < 10 + times / 4
                continue
            begin(load)
            time.sleep(chance.uniform(0.05, 0.3))
            codes.append(program.end(chance.choice(SIGNALS)))
            assert codes[-1] == 0, f"end {len(codes)} of {times}: {codes[-1]}\n{program.said}"
            # Its ports are gone before the next one takes their names.
            wait_until(lambda program=program: program.input not in rig.probe.ports(), "the end of its ports")
    print(f"{len(codes)} ends, {refused} starts refused")


def test_a_few_ends_under_load(rig: Rig, tmp_path: Path) -> None:
    end_under_load(rig, tmp_path, 3)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_three_hundred_ends_under_load(rig: Rig, tmp_path: Path) -> None:
    end_under_load(rig, tmp_path, 300)


@pytest.mark.parametrize("times", [2, pytest.param(40, marks=[pytest.mark.long, pytest.mark.timeout(3600)])])
def test_a_server_that_dies_under_load(stage: Stage, tmp_path: Path, times: int) -> None:
    with run_daemon(stage.server, tmp_path, "--osc", "off") as program:
        program.wait_for_line("ports open")
        for _ in range(times):
            with flood(stage.server, RATE) as load:
                stage.probe.wait_for_ports("flood:out", program.input)
                stage.probe.connect(("flood:out", program.input))
                begin(load)
                time.sleep(0.2)
                stage.end_server(signal.SIGKILL)
            stage.start_again()
        stage.probe.wait_for_ports(program.input, program.output)
        assert program.end() == 0, program.said
