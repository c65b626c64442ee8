"""The films in the README: what is heard and seen in them, without the programs that make them."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from rtgen.cli.common import preset_of
from rtgen.errors import UserError
from rtgen.instrument.preset import Preset
from rtgen.music.note import Loop, Note
from rtgen.music.time import seconds_per_tick
from rtgen.rig.performance import TEMPO
from train import films

CALL = Loop(3840, (Note(0, 60, 400, 90), Note(960, 64, 400, 90)), 1920)
ANSWER = Loop(3840, (Note(0, 60, 400, 90), Note(960, 67, 400, 90)), 1920)


@pytest.mark.parametrize(("name", "channel"), [("clean", 1), ("drummer", 9)])
def test_the_call_is_on_the_left_and_the_answer_on_the_right(name: str, channel: int) -> None:
    score, pairs, length_s = films.session(preset_of(name).changed(tempo=TEMPO))
    assert length_s == pytest.approx(20.0)
    assert all(call.notes and answer.notes for call, answer in pairs[::2])
    pans = {}
    for track in score.tracks:
        used = {e.data[0] & 0x0F for e in track.events if e.data[0] & 0xF0 == 0x90}
        pan = next(e.data for e in track.events if e.data[0] & 0xF0 == 0xB0 and e.data[1] == 10)
        assert used == {pan[0] & 0x0F}
        pans[track.name] = (*used, pan[2] < 64)
    assert pans == {"played": (0, True), "answered": (channel, False)}


def test_the_picture_is_that_of_the_loop_and_the_playhead_crosses_it(tmp_path: Path) -> None:
    frames = films.pictures(Preset(name="vary", mode="vary"), [(CALL, ANSWER)], tmp_path)
    assert len(frames) == 2
    assert frames[0].tobytes() != frames[1].tobytes()
    loop_s = CALL.length * seconds_per_tick(TEMPO)
    moving = list(films.moving(frames, CALL.length, 2 * loop_s))
    assert len(moving) == round((2 * loop_s + 1.5) * 20)

    def playhead(number: int) -> int:
        """The column that is brightest from top to bottom."""
        grey = moving[number].convert("L")
        columns = grey.crop((60, 100, grey.width - 20, grey.height - 50)).resize(
            (grey.width - 80, 1), Image.Resampling.BOX
        )
        return max(range(columns.width), key=lambda x: columns.getpixel((x, 0)))

    at = [playhead(number) for number in (20, 50, 80, 120, 150)]
    assert at[0] < at[1] < at[2]
    assert at[3] < at[1] < at[4] + 1


def test_a_program_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="fluidsynth is not here; install it"):
        films.main(None, tmp_path, tmp_path / "none.sf2")
