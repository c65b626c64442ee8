"""ALSA, in a virtual machine: this machine's kernel need not have a sequencer."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.rig import vm
from tests.rig.alsa_peer import NOTES

ROOT = Path(__file__).parents[2]
TINY = ROOT / "tests" / "data" / "tiny.onnx"
BAR = 1920
_WIDE = 240
"""Ticks that a note may be off: an emulated machine on a busy one plays no better."""


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(bool(vm.missing()), reason=str(vm.missing()))
def test_it_opens_ports_follows_a_clock_and_answers(tmp_path: Path) -> None:
    preset = tmp_path / "test.yaml"
    preset.write_text(f"model: {TINY}\nmode: vary\ndistance: 0\nuse: answer\nbars: 1\n")
    script = tmp_path / "run.sh"
    paths = f"PYTHONPATH={ROOT} HOME=/run TMPDIR=/run PYTHONDONTWRITEBYTECODE=1"
    script.write_text(f"cd {ROOT}; {paths} {sys.executable} -m tests.rig.alsa_peer {preset} 60\n")
    said = vm.run(script, tmp_path, 800)
    if "too slow to play with" in said:
        pytest.skip("void: this machine is too busy to emulate another that plays")
    found = next((line for line in said.splitlines() if line.startswith('{"said"')), None)
    assert found is not None, said
    report = json.loads(found)
    assert "ports open: rtgen in and rtgen out (ALSA)" in report["said"], report
    assert report["status"] == 0
    ons = [(tick, data[1]) for tick, data in report["heard"] if data[0] & 0xF0 == 0x90 and data[2]]
    offs = [
        data[1] for _, data in report["heard"] if data[0] & 0xF0 == 0x80 or (data[0] & 0xF0 == 0x90 and not data[2])
    ]
    assert [pitch for _, pitch in ons] == [pitch for _, pitch, _ in NOTES], report
    assert sorted(offs) == sorted(pitch for _, pitch in ons)
    assert all(abs(tick - (BAR + meant)) < _WIDE for (tick, _), (meant, _, _) in zip(ons, NOTES, strict=True)), report
