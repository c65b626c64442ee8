from pathlib import Path

import pytest
from PIL import Image

from rtgen.errors import UserError
from rtgen.music.note import Loop, Note
from rtgen.rig import canvas, picture

CALL = Loop(3840, (Note(-12, 60, 470, 90), Note(480, 64, 470, 60), Note(960, 67, 900, 110), Note(960, 67, 900, 110)))
ANSWER = CALL.with_notes((*CALL.notes[1:], Note(1920, 72, 480, 100)))


def colours(path: Path) -> set[tuple[int, ...]]:
    image = Image.open(path).convert("RGB")
    image = image.crop((0, canvas.HEAD, *image.size))
    return {colour for _, colour in image.getcolors(1 << 24) or ()}


def test_match_takes_the_nearest_of_the_same_pitch_once():
    call = Loop(960, (Note(0, 60, 100), Note(100, 60, 100), Note(480, 62, 100)))
    answer = Loop(960, (Note(90, 60, 50), Note(110, 60, 50), Note(541, 62, 50), Note(0, 61, 50)))
    assert picture.match(call, answer) == [(call.notes[1], Note(90, 60, 50))]


def test_match_of_a_loop_with_itself_is_the_whole_loop():
    assert picture.match(CALL, CALL) == [(n, n) for n in CALL.notes]


def test_new_and_left_out_notes_look_different_from_kept_ones(tmp_path):
    picture.draw([(CALL, CALL)], tmp_path / "same.png", title="t")
    picture.draw([(CALL, ANSWER)], tmp_path / "other.png", title="t", tempo=96, captions=("vary",))
    assert not {canvas.EDGE, canvas.GONE} & colours(tmp_path / "same.png")
    assert {canvas.EDGE, canvas.GONE} <= colours(tmp_path / "other.png")


@pytest.mark.parametrize("count", [1, 2, 5])
def test_every_pair_has_its_place(tmp_path, count):
    empty = Loop(1440, (), 1440)
    picture.draw([(CALL, ANSWER), (empty, empty)] * count, tmp_path / "a.png", title="t")
    with Image.open(tmp_path / "a.png") as image:
        assert image.width == 2000
        assert image.height > 2 * count * 200
    assert [f.name for f in tmp_path.iterdir()] == ["a.png"]


def test_says_where_it_cannot_write(tmp_path):
    with pytest.raises(UserError, match=r"no/a\.png cannot be written .* choose another folder"):
        picture.draw([(CALL, ANSWER)], tmp_path / "no" / "a.png", title="t")


def test_nothing_to_draw(tmp_path):
    with pytest.raises(ValueError, match="no pairs"):
        picture.draw([], tmp_path / "a.png", title="t")
