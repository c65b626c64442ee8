from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, Literal

import pytest

from tests.instrument.day import Day


@pytest.mark.parametrize("clock", ["midi", "internal"])
def test_twenty_minutes_with_everything_that_can_happen(clock: Literal["midi", "internal"]) -> None:
    first, again, other = (Day(1 / 3, seed, clock).run() for seed in (1, 1, 2))
    assert first.digest == again.digest != other.digest
    assert first.answers > 20
    assert first.notes > 1000


def _lived(hours: int, seed: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.instrument.day", str(hours), str(seed)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("hours", [6, pytest.param(24, marks=pytest.mark.long)])
def test_an_evening_and_a_day(hours: int) -> None:
    """In processes of their own, whose memory is nobody else's."""
    runs = [_lived(hours, 1) for _ in range(2)]
    tolls: list[dict[str, Any]] = [json.loads(run.communicate()[0]) for run in runs]
    print(tolls)
    assert [run.returncode for run in runs] == [0, 0]
    assert tolls[0]["digest"] == tolls[1]["digest"]
    assert all(toll["grew_mb"] < 5 for toll in tolls)
    assert tolls[0]["answers"] > 80 * hours
