"""Private JACK servers."""

from __future__ import annotations

import os
import signal

import pytest

from rtgen.bench.server import Server, end, missing, one_runs


@pytest.mark.timed
def test_servers_that_were_killed_do_not_keep_others_from_starting() -> None:
    if reason := missing():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"no JACK rig: {reason}")
    if one_runs():
        pytest.skip("another JACK server runs: those that this test kills would stay in its list")
    for _ in range(9):  # JACK allows eight, and counts the dead ones
        with Server.start() as server:
            end(server.process, signal.SIGKILL)
    with Server.start() as server:
        assert server.process.poll() is None
