from __future__ import annotations

import gzip
import json
import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from rtgen.errors import UserError
from tests.train import live
from tests.train.live import Clip
from train.prepare.sources import als
from train.prepare.sources.find import Source, find, read
from train.prepare.sources.piece import Piece

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
SCALE = tuple((i * 1.0, 60 + i, 0.5, 80.0) for i in range(8))


def source(path: Path) -> Source:
    (found,) = find([path])
    return found


def only(path: Path) -> Piece:
    (piece,) = read(source(path)).pieces
    return piece


def notes_of(piece: Piece) -> list[tuple[int, ...]]:
    ((_, notes),) = piece.tracks
    return sorted(map(tuple, notes.T.tolist()))


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("version", list(live.CREATORS))
def test_every_version_gives_the_same_music(version: str, plain: bool, tmp_path: Path) -> None:
    notes = (*SCALE[1:], (1.0, 48, 2.0, 63.5), (2.5, 48, 0.25, 100.0))
    clips = (Clip(notes, name="a"), Clip(SCALE, place=(16.0, 24.0), metre=(3, 4)))
    data = live.xml(version, {"Piano": clips}, tempo=95.3, audio=("Voice",), grooves=(Clip(SCALE),))
    reading = read(source(live.save(tmp_path / "set.als", data, plain=plain)))
    first, second = reading.pieces
    assert [name for piece in reading.pieces for name, _ in piece.tracks] == ["Piano / a", "Piano"]
    assert (first.tempo, first.bar, second.bar) == (95.3, 1920, 1440)
    # The first note, a beat in, begins the first loop.
    assert first.stretches == ((480, 3840 - 480),)
    assert second.stretches == ((0, 3840),)
    assert notes_of(first)[:3] == [(480, 48, 960, 64), (480, 61, 240, 80), (960, 62, 240, 80)]
    assert (1200, 48, 120, 100) in notes_of(first)
    assert len(notes_of(first)) == 9
    assert reading.facts == {"audio track 'Voice' skipped": 1, "clip in the groove pool left out": 1}


def test_take_lanes_disabled_notes_and_what_lies_outside_the_loop_are_not_music(tmp_path: Path) -> None:
    notes = ((-1.0, 60, 0.5, 80.0), *SCALE, (8.0, 70, 1.0, 80.0))
    data = live.xml("11", {"Keys": (Clip(notes, disabled=(2, 3)),)}, takes=(Clip(SCALE), Clip(SCALE)))
    reading = read(source(live.save(tmp_path / "set.als", data)))
    assert [n[0] for n in notes_of(reading.pieces[0])] == [0, 3 * 480, 4 * 480, 5 * 480, 6 * 480, 7 * 480]
    assert reading.facts == {
        "clip in a take lane left out": 2,
        "disabled note left out": 2,
        "note outside its clip's loop left out": 2,
    }


def test_a_start_offset_turns_the_loop(tmp_path: Path) -> None:
    clip = Clip(((1.0, 60, 1.0, 80.0), (7.0, 64, 4.0, 80.0)), offset=6.0)
    piece = only(live.save(tmp_path / "set.als", live.xml("10", {"Keys": (clip,)})))
    # Playing begins at beat 6; the note at 7 ends with the loop at 8, and beat 1 comes three beats after the start.
    assert notes_of(piece) == [(480, 64, 480, 80), (3 * 480, 60, 480, 80)]
    assert piece.stretches == ((480, 3840 - 480),)
    whole = Clip(clip.notes, offset=6.0, loops=False)
    assert notes_of(only(live.save(tmp_path / "whole.als", live.xml("10", {"Keys": (whole,)})))) == [(480, 64, 480, 80)]


def test_a_clip_in_the_arrangement_ends_where_it_ends_there(tmp_path: Path) -> None:
    clip = Clip(SCALE, offset=2.0, place=(191.25, 194.25))
    piece = only(live.save(tmp_path / "set.als", live.xml("9", {"Keys": (clip,)})))
    assert [n[1] for n in notes_of(piece)] == [62, 63, 64]
    assert piece.stretches == ((0, 3 * 480),)


def test_loops_of_odd_length_and_braces_that_do_not_start_at_0(tmp_path: Path) -> None:
    clip = Clip(((4.0, 60, 9.0, 0.4), (9.0, 62, 1.0, 126.7)), start=4.0, end=10.068148257992)
    piece = only(live.save(tmp_path / "set.als", live.xml("12", {"Keys": (clip,)}, tempo=None)))
    assert notes_of(piece) == [(0, 60, 2913, 1), (5 * 480, 62, 480, 127)]
    assert piece.stretches == ((0, 2913),)
    assert piece.tempo == 120.0


def test_clips_of_one_name_are_told_apart_and_a_set_without_clips_has_none(tmp_path: Path) -> None:
    data = live.xml("9", {"Keys": (Clip(SCALE, name="a"), Clip(SCALE, name="a"), Clip(()))}, tempo=None)
    reading = read(source(live.save(tmp_path / "set.als", data)))
    assert [name for piece in reading.pieces for name, _ in piece.tracks] == ["Keys / a", "Keys / a (2)"]
    assert reading.facts == {"clip without notes": 1, "no tempo: 120 BPM assumed": 1}
    assert read(source(live.save(tmp_path / "no.als", live.xml("12", {}, audio=("A", "B"))))).pieces == ()


DTD = '<?xml version="1.0"?><!DOCTYPE Ableton [<!ENTITY a "aaaaaaaaaa">%s]><Ableton><LiveSet>&%s;</LiveSet></Ableton>'


def bomb() -> bytes:
    """Each entity ten times the one before: ten to the ninth letters."""
    entities = "".join(f'<!ENTITY {n} "{f"&{p};" * 10}">' for p, n in zip("abcdefgh", "bcdefghi", strict=True))
    return (DTD % (entities, "i")).encode()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "is empty"),
        (b"junk\n", "is damaged"),
        (bomb(), "declares a document type"),
        (b'<?xml version="1.0"?><!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', "declares a document type"),
        (b"<Ableton>" + b"<a>" * 1000, "nested more than 200"),
        (b"<html><body/></html>", "not a Live set"),
        (live.xml("9", {"Keys": (Clip(SCALE),)})[:-40], "is damaged"),
        (gzip.compress(live.xml("9", {"Keys": (Clip(SCALE),)}), mtime=0)[:-40], "is truncated"),
        (gzip.compress(b"<Ableton>", mtime=0)[:12] + bytes(30), "is damaged"),
        (live.xml("9", {"Keys": (Clip(SCALE, end=float("nan")),)}), "is damaged"),
        (live.xml("9", {"Keys": (Clip(SCALE),)}).replace(b"UTF-8", b"UTF-9"), "is damaged"),
        (live.xml("9", {"Keys": (Clip(SCALE),)}).replace(b"LoopEnd Value", b"LoopEnd Worth"), "is damaged"),
        (b"<Ableton><LiveSet a='" + b"a" * (5 << 20), "one tag exceeds 4 MB"),
    ],
)
def test_what_is_no_set_is_one_sentence(data: bytes, why: str, tmp_path: Path) -> None:
    (tmp_path / "x.als").write_bytes(data)
    with pytest.raises(UserError, match=why) as told:
        read(Source(str(tmp_path / "x.als")))
    assert "x.als" in str(told.value)
    assert "\n" not in str(told.value)


def test_a_small_file_that_unpacks_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(als, "MAX_XML", 8 << 20)
    data = b"<Ableton><LiveSet>" + b" " * (32 << 20)
    path = live.save(tmp_path / "x.als", data)
    assert path.stat().st_size < 100_000
    with pytest.raises(UserError, match="unpacks to more than 8 MB"):
        read(Source(str(path)))


def test_a_set_with_too_many_notes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(als, "MAX_NOTES", 5)
    with pytest.raises(UserError, match="more than 5 notes"):
        read(source(live.save(tmp_path / "x.als", live.xml("9", {"Keys": (Clip(SCALE),)}))))


def test_a_set_of_70_megabytes_takes_little_memory(tmp_path: Path) -> None:
    data = live.xml("11", {"Keys": (Clip(SCALE),)})
    # What makes sets large is what plug-ins keep in them.
    head, tail = data.split(b"<MainSequencer>")
    line = b"<Buffer>" + b"0123456789ABCDEF" * 1000 + b"</Buffer>\n"
    path = tmp_path / "large.als"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(head)
        for _ in range(70_000_000 // len(line)):
            file.write(line)
        file.write(b"<MainSequencer>" + tail)
    tracemalloc.start()
    piece = only(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(notes_of(piece)) == 8
    assert peak < 4 << 20


def test_real_sets_hold_what_an_independent_parser_found(tmp_path: Path) -> None:
    """Clips by track and kind, their loops, and counts and range of the notes, set by set."""
    if not (SHARED / "als.zip").exists():
        pytest.skip("the shared folder with als.zip is not here")
    expected = {e["file"]: e for e in json.loads((SHARED / "als-expected.json").read_text())}
    sources = {s.song.removeprefix("als/"): s for s in find([SHARED / "als.zip"])}
    assert sources.keys() == expected.keys()
    clips = 0
    for name, told in expected.items():
        if "error" in told:
            with pytest.raises(UserError, match=name.rpartition("/")[2]):
                als.parse(sources[name])
            continue
        found = als.parse(sources[name])
        assert found.tempo == pytest.approx(told["tempo"])
        # The other parser lists the clips of take lanes, too; here they are only counted.
        assert found.facts["clip in a take lane left out"] == told["kinds"].get("take", 0)
        want = [c for c in told["clips"] if c["kind"] != "take"]
        assert Counter(map(of_ours, found.clips)) == Counter(map(of_theirs, want))
        for clip, other in zip(found.clips, want, strict=True):
            # It finds no track names in Live 8, which keeps no EffectiveName.
            assert other["track"] in (None, clip.track) or clip.track in other["track"]
        clips += len(want)
    assert clips > 200


def of_ours(clip: als.Clip) -> tuple[object, ...]:
    notes, inside = clip.notes, clip.inside()
    pitches = notes[:, 4]
    return (
        "session" if clip.session else "arrangement",
        clip.name,
        *(round(clip.values[n], 9) for n in ("CurrentStart", "CurrentEnd", "LoopStart", "LoopEnd", "StartRelative")),
        clip.loops,
        (clip.metre["Numerator"], clip.metre["Denominator"]),
        len(notes),
        int(np.sum(notes[:, 3] > 0)),
        int(np.sum(inside)),
        (int(pitches.min()), int(pitches.max())) if len(notes) else None,
    )


def of_theirs(clip: dict[str, object]) -> tuple[object, ...]:
    places = (clip[n] for n in ("start", "end", "loop_start", "loop_end", "start_relative"))
    return (
        clip["kind"],
        clip["name"],
        *(round(p, 9) for p in places if isinstance(p, float)),
        clip["loop_on"],
        tuple(clip["ts"]),  # type: ignore[arg-type]
        clip["notes"],
        clip["enabled"],
        clip["in_loop"],
        (clip["pmin"], clip["pmax"]) if clip["notes"] else None,
    )
