from __future__ import annotations

import random
from pathlib import Path

import pytest
from PIL import Image

from rtgen.bench import follower as bench
from rtgen.bench.follower import FOLLOWERS, RTGEN, SCENARIOS, Average, Loop, Result, even, follow, simulate, table
from rtgen.bench.follower_plot import draw


@pytest.fixture(scope="module")
def results() -> dict[tuple[str, str], Result]:
    return {(r.scenario, r.follower): r for r in simulate(seeds=20)}


def test_every_follower_is_in_every_scenario(results: dict[tuple[str, str], Result]) -> None:
    assert len(results) == len(SCENARIOS) * len(FOLLOWERS)
    text = table(results.values())
    assert all(text.count(scenario.name) >= 1 for scenario in SCENARIOS)
    assert len(text.splitlines()) == 1 + len(results)


def test_what_is_wanted_of_the_follower_is_so(results: dict[tuple[str, str], Result]) -> None:
    steady, step = results["jitter of ±2 ms, 120 BPM", RTGEN], results["the same, 120 to 126 BPM", RTGEN]
    assert steady.rms_ms < 0.4
    assert step.clocks_median is not None
    assert step.clocks_median <= 12
    assert not any(r.miscounted for r in results.values() if r.follower == RTGEN)


def test_the_baselines_are_as_good_as_they_are_known_to_be(results: dict[tuple[str, str], Result]) -> None:
    steady = {name: results["jitter of ±2 ms, 120 BPM", name].rms_ms for name in FOLLOWERS}
    assert steady["loop, slow"] == pytest.approx(0.38, abs=0.05)
    assert steady["loop, fast"] == pytest.approx(0.51, abs=0.05)
    assert steady["averaging"] == pytest.approx(1.26, abs=0.05)
    steps = [results["the same, 120 to 126 BPM", name].clocks_median for name in ("loop, slow", "loop, fast")]
    assert steps[0] is not None
    assert steps[1] is not None
    assert steps[0] > steps[1] > 12
    # None of them knows that a clock can be lost.
    assert all(results["3 clocks are lost", name].miscounted == 20 for name in FOLLOWERS if name != RTGEN)


@pytest.mark.parametrize("make", [lambda: Loop(0.02, 1.0), lambda: Average(0.02)])
def test_a_baseline_settles_on_a_clock_without_jitter(make: type) -> None:
    errors = follow(make(), even(random.Random(0), 97, jitter_ms=0))
    assert max(abs(error) for error in errors[300:]) < 0.001


def test_the_same_seeds_give_the_same_figures() -> None:
    assert simulate(seeds=2) == simulate(seeds=2)


def test_the_picture_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtgen.bench.follower_plot._SEEDS", 3)
    draw(tmp_path / "clock.png")
    with Image.open(tmp_path / "clock.png") as image:
        colours = image.convert("RGB").getcolors(1 << 20)
    assert colours is not None
    for style in [(118, 188, 255), (255, 170, 76)]:
        assert sum(count for count, colour in colours if colour == style) > 500


def test_it_runs_as_a_program(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["follower", "--quick"])
    monkeypatch.setattr(bench, "SCENARIOS", SCENARIOS[:2])
    bench.main()
    assert "120 BPM" in capsys.readouterr().out
