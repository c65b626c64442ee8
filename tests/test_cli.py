from __future__ import annotations

import json
import os
import re
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from rtgen import cli
from rtgen.inference.card import ROLES, Data
from rtgen.inference.protobuf import tagged
from rtgen.instrument.parameters import listed
from rtgen.music import files
from rtgen.music.note import Note
from rtgen.music.time import Metre
from rtgen.rig.performance import TEMPO, performance
from rtgen.shipped import find
from tests.data.make_faulty import faulty
from tests.data.make_tiny import CARD, GENERATOR, build, build_code, build_composer, build_harmoniser, build_sequence
from tests.rig.test_journal import performed
from tests.rig.test_osc import Desk

DATA = Path(__file__).parent / "data"
TINY = DATA / "tiny.onnx"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in this process; returns exit status, output and errors, uncoloured and unwrapped."""
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "1000")
    # No server and no rtgen of this machine's are to be found.
    monkeypatch.setattr("rtgen.rig.told.remote.PORTS", (1,))
    monkeypatch.setenv("JACK_DEFAULT_SERVER", "rtgen-no-such-server")

    def run(*words: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["rtgen", *map(str, words)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        out, err = capfd.readouterr()
        return int(stopped.value.code or 0), out, err

    return run


@pytest.fixture
def song(tmp_path: Path) -> Path:
    path = tmp_path / "song.mid"
    files.write(path, files.Score((files.Track("played", performance(8)),), ((0, TEMPO),)))
    return path


def preset_of(folder: Path, role: str, mode: str) -> Path:
    """A preset with the tiny model of a role."""
    make = {
        "denoiser": build,
        "drummer": lambda: build(replace(CARD, role="drummer")),
        "autoencoder": build_code,
        "sequence": build_sequence,
        "composer": build_composer,
    }
    model = folder / f"{role}.onnx"
    onnx.save(make[role]() if role in make else build_code(GENERATOR), model)
    path = folder / "p.yaml"
    path.write_text(f"model: {model}\nmode: {mode}\n")
    return path


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(f"model: {TINY}\ndistance: 0.5\n")
    return path


# ---- what goes right ------------------------------------------------------------------------------------------------


def test_a_rendered_file_is_the_golden_one(run: Run, song: Path, tiny: Path, tmp_path: Path) -> None:
    """What was played, and the answers that the session, the looper and the answering gave to it once.

    After a change that is meant to change the music: `RTGEN_GOLDEN=write make test`, and look at the difference.
    """
    first, second = tmp_path / "1.mid", tmp_path / "2.mid"
    for target in (first, second):
        status, out, _ = run("render", song, target, "--preset", tiny, "--seed", "3")
        assert status == 0
        assert "4 loops answered" in out
    assert first.read_bytes() == second.read_bytes()
    score = files.read(first)
    assert score.tempos == ((0, TEMPO),)
    lines = [f"{n.onset:6} {n.pitch:3} {n.duration:5} {n.velocity:3}" for n in score.tracks[1].notes()]
    golden = DATA / "golden.txt"
    if os.environ.get("RTGEN_GOLDEN") == "write":
        golden.write_text("\n".join(lines) + "\n")
    assert lines == golden.read_text().splitlines()


def test_control_changes_in_a_file_press_no_buttons_unless_asked_to(
    run: Run, song: Path, tiny: Path, tmp_path: Path
) -> None:
    score = files.read(song)
    (track,) = score.tracks
    muted = tmp_path / "muted.mid"
    mute = files.Event(0, b"\xb0\x59\x7f")
    files.write(muted, replace(score, tracks=(replace(track, events=(mute, *track.events)),)))
    answers: list[list[Note]] = []
    for words in (song,), (muted,), (muted, "--controls", "all"):
        target = tmp_path / "out.mid"
        status, out, _ = run("render", *words[:1], target, "-p", tiny, "--seed", "3", *words[1:])
        assert status == 0
        tracks = files.read(target).tracks
        answers.append(tracks[1].notes() if len(tracks) > 1 else [])
        # What is said is what is in the file.
        assert f"4 loops answered with {len(answers[-1])} notes" in out
    assert answers[0] == answers[1] != []
    assert answers[2] == []


def test_drums_beside_a_melody_are_left_out_of_a_render(run: Run, song: Path, tiny: Path, tmp_path: Path) -> None:
    drums = [
        e for t in range(0, 16 * 1920, 240) for e in files.note_events([Note(t, 36 + t // 240 % 2, 60)], channel=9)
    ]
    score = files.read(song)
    both, alone = tmp_path / "both.mid", tmp_path / "alone.mid"
    files.write(both, replace(score, tracks=(*score.tracks, files.Track("drums", tuple(drums)))))
    files.write(alone, replace(score, tracks=(files.Track("drums", tuple(drums)),)))
    answers = []
    for source in song, both:
        status, out, _ = run("render", source, tmp_path / "out.mid", "-p", tiny, "--seed", "3")
        assert status == 0
        assert out.count("channel 10 (drums) is left out, as model tiny plays no drums") == (source == both)
        answers.append(files.read(tmp_path / "out.mid").tracks[-1].notes())
    assert answers[0] == answers[1] != []
    fails(
        run("render", alone, tmp_path / "out.mid", "-p", tiny), "alone.mid has notes on channel 10 .* --preset drummer"
    )
    drummer = preset_of(tmp_path, "drummer", "clean")
    for source in both, alone:
        status, out, _ = run("render", source, tmp_path / "out.mid", "-p", drummer)
        assert status == 0
        assert "left out" not in out
        assert "4 loops answered" in out


def test_another_model_plays_a_preset_and_is_found_by_name(
    run: Run, song: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    mine = tmp_path / "home" / "rtgen" / "models" / "mine.onnx"
    mine.parent.mkdir(parents=True)
    onnx.save(build_code(GENERATOR), mine)
    for named in "mine", mine:
        status, out, err = run("demo", "--fast", "--bars", "8", "-p", "dream", "--model", named, "--out", tmp_path)
        assert (status, err) == (0, "")
        assert "in mode generate" in out
    status, _, err = run("render", song, tmp_path / "out.mid", "-p", "vary", "--model", "mine")
    assert status == 2
    assert "plays generate, not vary" in err
    status, _, err = run("render", song, tmp_path / "out.mid", "--model", "nobody")
    assert status == 2
    assert "nobody" in err


def test_another_seed_gives_another_file(run: Run, song: Path, tiny: Path, tmp_path: Path) -> None:
    for seed in "12":
        run("render", song, tmp_path / f"{seed}.mid", "--preset", tiny, "--seed", seed)
    assert (tmp_path / "1.mid").read_bytes() != (tmp_path / "2.mid").read_bytes()


@pytest.mark.parametrize("use", ["answer", "follow", "hold"])
def test_a_rendered_file_answers_at_distance_0_with_what_was_played(
    run: Run, song: Path, tiny: Path, tmp_path: Path, use: str
) -> None:
    target = tmp_path / "out.mid"
    assert run("render", song, target, "-p", tiny, "--use", use, "--distance", "0")[0] == 0
    played, answered = (track.notes() for track in files.read(target).tracks)
    first = [n for n in played if n.onset < 3840]
    assert [(n.onset + 3840, n.pitch, n.duration, n.velocity) for n in first] == [
        (n.onset, n.pitch, n.duration, n.velocity) for n in answered if n.onset < 2 * 3840 - 60
    ]


@pytest.fixture
def harmoniser(tmp_path: Path) -> Path:
    """A model whose chords are triads on what was played last."""
    onnx.save(build_harmoniser(), tmp_path / "h.onnx")
    return tmp_path / "h.onnx"


def test_a_band_plays_along_with_the_melody_of_a_file(run: Run, harmoniser: Path, tmp_path: Path) -> None:
    source, target = tmp_path / "tune.mid", tmp_path / "band.mid"
    tune = [Note(i * 480, 60 + 5 * (i // 8), 460) for i in range(16)]
    chords = [Note(0, 40, 7680)]
    tracks = (files.Track("Melody", tuple(files.note_events(tune))), files.Track("x", tuple(files.note_events(chords))))
    files.write(source, files.Score(tracks, markers=((0, "verse"),)))
    words = ("render", source, target, "--preset", "band", "--model", harmoniser)
    status, out, _ = run(*words, "--picture", tmp_path / "band.png")
    assert status == 0
    assert "by bass, comping, drums" in out
    assert "the track Melody is heard, and all others are left out" in out
    score = files.read(target)
    assert [track.name for track in score.tracks] == ["Melody", "bass", "comping", "drums"]
    # From the first bar line on; then, committed a beat ahead, it follows a beat and a half after a note began.
    assert score.markers[:3] == ((0, "verse"), (1920, "C"), (4560, "F"))
    bass = files.notes_of(score.tracks[1].events)
    assert {n.pitch % 12 for n in bass if n.onset < 4560} == {0, 7}
    assert {n.pitch % 12 for n in bass if 4560 <= n.onset < 7680} == {5, 0}
    assert [track.events[0].data for track in score.tracks[1:3]] == [b"\xc1\x21", b"\xc2\x04"]
    assert {e.data[0] & 0x0F for e in score.tracks[3].events} == {9}
    assert (tmp_path / "band.png").stat().st_size > 1000
    first = target.read_bytes()
    assert run(*words)[0] == 0
    assert target.read_bytes() == first


def test_the_chords_of_every_metre_are_where_they_sound(run: Run, harmoniser: Path, tmp_path: Path) -> None:
    source, target = tmp_path / "tune.mid", tmp_path / "band.mid"
    tune = [Note(i * 480, 60 if i < 16 else 65, 460) for i in range(28)]
    metres = ((0, Metre()), (7680, Metre(3, 4)))
    files.write(source, files.Score((files.Track("t", tuple(files.note_events(tune))),), metres=metres))
    assert run("render", source, target, "--preset", "band", "--model", harmoniser)[0] == 0
    score = files.read(target)
    assert score.markers[:3] == ((1920, "C"), (7680, "-"), (7680 + 1440, "F"))
    struck = [n.onset for n in score.tracks[1].notes() if n.pitch % 12 == 5]
    assert min(struck) == 7680 + 1440


def test_no_band_can_play_along_with_this(run: Run, song: Path, harmoniser: Path, tmp_path: Path) -> None:
    target = tmp_path / "band.mid"
    band = ("--preset", "band", "--model", harmoniser)
    fails(run("render", song, target, "--preset", "band", "--model", TINY), "role denoiser", "not accompany")
    fails(run("render", song, song, *band), "is the file that is read")
    fails(run("render", song, target, *band, "--picture", song), "is the file that is read")
    fails(run("render", song, target, "--preset", "band", "--model", "nobody"), "nobody")
    drums = tmp_path / "drums.mid"
    beat = tuple(files.note_events([Note(0, 36, 100)], channel=9))
    files.write(drums, files.Score((files.Track("Melody", beat),)))
    fails(run("render", drums, target, *band), "plays no drums")
    odd = tmp_path / "odd.mid"
    files.write(
        odd, files.Score((files.Track("t", tuple(files.note_events([Note(0, 60, 99)]))),), metres=((0, Metre(7, 16)),))
    )
    fails(run("render", odd, target, *band), "7/16", "choose another preset or file")
    assert not target.exists()


def test_a_rendered_file_is_drawn_with_its_answers(run: Run, song: Path, tiny: Path, tmp_path: Path) -> None:
    words = ("render", song, tmp_path / "out.mid", "-p", tiny, "--picture")
    assert run(*words, tmp_path / "out.png")[0] == 0
    assert (tmp_path / "out.png").stat().st_size > 1000
    fails(run(*words, tmp_path / "no" / "a.png"), "cannot be written")


def test_a_file_is_never_rendered_over_itself(run: Run, song: Path, tiny: Path, tmp_path: Path) -> None:
    before = song.read_bytes()
    (tmp_path / "soft.mid").symlink_to(song)
    (tmp_path / "hard.mid").hardlink_to(song)
    (tmp_path / "sub").mkdir()
    for name in ("song.mid", "soft.mid", "hard.mid", "sub/../song.mid"):
        for words in ((song, tmp_path / name), (tmp_path / name, song)):
            fails(run("render", *words, "-p", tiny), "is the file that is read; choose another name")
    assert song.read_bytes() == before
    assert (tmp_path / "soft.mid").is_symlink()


def test_a_log_is_never_written_over_by_its_music(run: Run, tmp_path: Path) -> None:
    log, _ = performed(tmp_path / "a.rtlog")
    before = log.read_bytes()
    fails(run("replay", log, "--out", log), "is the file that is read; choose another name")
    assert log.read_bytes() == before


def test_a_rendered_file_keeps_to_the_metres_of_its_source(run: Run, tiny: Path, tmp_path: Path) -> None:
    beats = [Note(480 * i, 60 + i % 12, 240) for i in range(1 + 16 + 12)]
    metres = ((0, Metre(1, 4)), (480, Metre()), (480 + 4 * 1920, Metre(3, 4)))
    files.write(
        tmp_path / "in.mid", files.Score((files.Track("Keys", tuple(files.note_events(beats))),), metres=metres)
    )
    status, out, _ = run("render", tmp_path / "in.mid", tmp_path / "out.mid", "-p", tiny, "--distance", "0")
    assert status == 0
    assert "2 loops answered with 14 notes" in out
    assert "out.mid; 1 stretch is too short for a loop and its answer" in out
    score = files.read(tmp_path / "out.mid")
    assert score.metres == metres
    first, second = range(480 + 3840, 480 + 7680, 480), range(480 + 7680 + 2880, 480 + 7680 + 5760, 480)
    assert [n.onset for n in score.tracks[1].notes()] == [*first, *second]


def test_the_demo_makes_music_and_a_picture(run: Run, tiny: Path, tmp_path: Path) -> None:
    status, out, err = run("demo", "--bars", "16", "-p", tiny, "--out", tmp_path / "new", "--fast")
    assert (status, err) == (0, "")
    assert "4 loops were played" in out
    assert "4 answered" in out
    score = files.read(tmp_path / "new" / "demo.mid")
    assert [t.name for t in score.tracks] == ["played", "answered"]
    assert (tmp_path / "new" / "demo.png").read_bytes().startswith(b"\x89PNG")
    loops = {(n.onset + 60) // 3840 for n in score.tracks[1].notes()}  # an early downbeat is of its loop
    assert loops == {1, 3, 5, 7}


@pytest.mark.parametrize(
    ("role", "mode"), [(role, mode) for role in ROLES for mode in ROLES[role].modes if mode != "accompany"]
)
def test_every_mode_of_every_role_plays_a_file_and_the_demo(
    run: Run, song: Path, tmp_path: Path, role: str, mode: str
) -> None:
    preset = preset_of(tmp_path, role, mode)
    target = tmp_path / "out.mid"
    for _ in range(2):
        assert run("render", song, target, "-p", preset, "--seed", "3")[0] == 0
    played, answered = (track.notes() for track in files.read(target).tracks)
    assert answered
    assert {(n.onset + 3840, n.pitch) for n in played} != {(n.onset, n.pitch) for n in answered} or mode == "clean"
    status, out, _ = run("demo", "--fast", "--bars", "8", "-p", preset, "--out", tmp_path)
    assert status == 0
    assert f"2 answered by {role} in mode {mode}" in out


def test_a_mode_that_the_model_does_not_play_is_said_at_the_start(run: Run, song: Path, tmp_path: Path) -> None:
    preset = preset_of(tmp_path, "autoencoder", "clean")
    said = r"Preset p: model tiny_autoencoder \(role autoencoder\) plays vary, blend, generate, not clean; choose "
    fails(run("render", song, tmp_path / "o.mid", "-p", preset), said)
    fails(run("demo", "-p", preset, "--out", tmp_path, "--fast"), said)
    # In real time it is the worker that knows.
    fails(run("demo", "-p", preset, "--out", tmp_path), said)
    fails(run("render", song, tmp_path / "o.mid", "-p", preset, "--mode", "continue"), "not continue")
    findings = json.loads(run("doctor", "-p", preset, "--seconds", "0", "--json")[1])
    assert [f["found"] for f in findings if f["subject"] == "Model"] == [
        "Preset p: model tiny_autoencoder (role autoencoder) plays vary, blend, generate, not clean"
    ]


def test_a_preset_whose_model_is_not_here_says_so_and_names_the_cure(run: Run, song: Path, tmp_path: Path) -> None:
    preset = tmp_path / "p.yaml"
    preset.write_text("model: nowhere_vae\nmode: blend\n")
    fails(run("render", song, tmp_path / "o.mid", "-p", preset), "Preset p: there is no model", "nowhere_vae", "train")
    here = {p["name"]: p["model_is_here"] for p in json.loads(run("presets", "--json")[1])}
    assert here["vary"]
    models = {m["name"] for m in json.loads(run("models", "--json")[1])}
    for shipped in json.loads(run("presets", "--json")[1]):
        assert shipped["model_is_here"] == (shipped["model"] in models)
        assert (f"{shipped['model']} (not installed)" in run("presets")[1]) != shipped["model_is_here"]


def test_lists_are_lists_for_a_program_too(run: Run) -> None:
    for command, key in (("presets", "mode"), ("models", "role"), ("ports", None)):
        status, out, _ = run(command, "--json")
        listed = json.loads(out)
        assert status == 0
        assert isinstance(listed, list)
        assert all(key in item for item in listed if key)
        assert run(command)[0] == 0


def test_a_bad_item_spoils_no_list(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    models, presets, sessions = (tmp_path / "rtgen" / kind for kind in ("models", "presets", "sessions"))
    for folder in models, presets, sessions:
        folder.mkdir(parents=True)
    odd = replace(CARD, name="odd[/b]", data=(Data("[red]x[/b]\x1b]0;t\x07", "MIT"),), description="\x1b[2J")
    onnx.save(build(odd), models / "odd.onnx")
    faulty(models, "never", always=True)
    (models / "none.onnx").write_bytes(b"nothing of the kind")
    for name, card in ("deep", b"[" * 100_000), ("latin", b"\xff"):
        entry = tagged(14, tagged(1, b"rtgen") + tagged(2, card))
        (models / f"{name}.onnx").write_bytes(TINY.read_bytes() + entry)
    (presets / "large.yaml").write_text("distance: 0x" + "1" * 400)
    (presets / "odd[b].yaml").write_text('mode: clean\ndescription: "[/b]\\e[2J"\n')
    (sessions / "a[b].rtlog").write_bytes(b"x")
    for kind, bad, good in ("models", {"none", "deep", "latin"}, "never"), ("presets", {"large"}, "odd[b]"):
        status, out, err = run(kind)
        assert (status, err) == (0, "")
        assert good in out
        assert "\x1b" not in out
        listed = {item["name"]: item for item in json.loads(run(kind, "--json")[1])}
        assert {name for name, item in listed.items() if "error" in item} == bad
    status, out, err = run("sessions", sessions)
    assert (status, err) == (0, "")
    assert "a[b].rtlog" in out


def test_models_of_a_family_are_listed_after_the_others(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    models = tmp_path / "rtgen" / "models"
    models.mkdir(parents=True)
    onnx.save(build(replace(CARD, name="aaa", family="the cousins")), models / "aaa.onnx")
    status, out, _ = run("models")
    assert status == 0
    names = [line.split()[0] for line in out.splitlines() if line[1:2].strip()]
    assert names[names.index("the") + 1] == "aaa"
    assert names.index("loop_denoiser") < names.index("aaa")
    families = {item["name"]: item["family"] for item in json.loads(run("models", "--json")[1])}
    assert families["aaa"] == "the cousins"
    assert families["composer"] == ""


def test_one_model_or_preset_is_shown_whole(run: Run, tmp_path: Path) -> None:
    assert json.loads(run("models", TINY, "--json")[1])[0]["data"] == [
        {"name": "nothing", "licence": "MIT", "credit": ""}
    ]
    assert "A test model" in run("models", TINY)[1]
    onnx.save(build_sequence(), tmp_path / "s.onnx")
    assert len(json.loads(run("models", tmp_path / "s.onnx", "--json")[1])[0]["vocabulary"]) == 79
    assert "and 71 more" in run("models", tmp_path / "s.onnx")[1]
    assert json.loads(run("presets", "vary", "--json")[1])[0]["bars"] == 2


def test_the_doctor_names_what_is_missing_and_the_cure(run: Run, tiny: Path) -> None:
    status, out, _ = run("doctor", "-p", tiny, "--seconds", "0", "--json")
    findings = {f["subject"]: f for f in json.loads(out)}
    assert status == 1
    assert findings["MIDI systems"]["verdict"] == "bad"
    assert "rtgen play" in findings["MIDI systems"]["cure"]
    assert findings["Model"]["verdict"] in ("good", "note")
    assert "tiny answers in" in findings["Model"]["found"]


@pytest.mark.parametrize(
    "command",
    [[], ["run"], ["play"], ["demo"], ["render"], ["ports"], ["models"], ["presets"], ["doctor"]],
)
def test_help_is_there(run: Run, command: list[str]) -> None:
    status, out, _ = run(*command, "--help")
    assert status == 0
    assert "Usage" in out


# ---- what goes wrong: one sentence, the cure, status 2 --------------------------------------------------------------


def fails(result: tuple[int, str, str], *parts: str) -> None:
    status, out, err = result
    assert status == 2, err
    assert out == ""
    assert "Traceback" not in err
    assert err.count("\n") == 1, err
    assert err.startswith("rtgen: ")
    for part in parts:
        assert re.search(part, err), err


def test_unknown_names(run: Run, tmp_path: Path, song: Path) -> None:
    fails(run("demo", "--preset", "varry"), "varry", "did you mean 'vary'")
    fails(run("render", song, "o.mid", "-p", "no/such.yaml"), "no/such.yaml", "check the path")
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("model: loop_denoisr\n")
    fails(run("demo", "-p", wrong), "loop_denoisr", "did you mean 'loop_denoiser'")
    fails(run("models", "nix"), "nix")
    fails(run("presets", "nix"), "nix")


def test_no_midi_system(run: Run, tiny: Path) -> None:
    if sys.platform != "linux" or Path("/dev/snd/seq").exists():
        pytest.skip("this machine has a MIDI system of its own")
    fails(run("run", "-p", tiny, "--seconds", "1"), "No MIDI system is running", "rtgen play")
    fails(run("run", "-p", tiny, "--api", "jack"), "JACK is not running", "start its server")
    fails(run("run", "-p", tiny, "--api", "winmm"), "winmm is not available on this platform", "--api")


def test_settings_out_of_range(run: Run, tiny: Path, song: Path) -> None:
    fails(run("run", "-p", tiny, "--distance", "7"), "distance is 7; it goes from 0 to 1")
    fails(run("render", song, "o.mid", "-p", tiny, "--mode", "cleen"), "did you mean 'clean'")
    fails(run("run", "-p", tiny, "--bars", "99"), "bars is 99")
    fails(run("run", "-p", tiny, "--tempo", "96"), "--tempo is for the internal clock", "add --clock internal")
    fails(run("run", "-p", tiny, "--clock", "player", "--tempo", "96"), "is what you play", "--tempi")
    fails(run("run", "-p", tiny, "--pause", "2"), "--clock player", "add it")
    fails(run("play", "-p", tiny, "--pause", "2"), "--clock player", "add it")
    fails(run("play", "-p", tiny, "--clock", "player", "--tempo", "96"), "is what you play", "--tempi")
    fails(run("run", "-p", tiny, "--send-link"), "--send-link", "add --clock internal or player")
    for tempi in "80", "160-80", "5-100", "a-b", "100-110", "nan-100":
        fails(run("run", "-p", tiny, "--clock", "player", "--tempi", tempi), f"--tempi is '{tempi}'", "such as 80-160")
    for pause in "0.1", "100", "-1", "nan":
        fails(run("run", "-p", tiny, "--clock", "player", "--pause", pause), "it goes from 0.5 to 60 seconds")
    fails(run("learn", "blend", "--over", "--forget"), "leave out one")


def test_the_list_of_controls_has_every_word_at_80_columns(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    status, out, _ = run("controls")
    assert status == 0
    *table, _ = out.splitlines()
    assert max(map(len, table)) <= 80
    assert "…" not in out
    words = out.split()
    for name, _, _, _, _, says in listed():
        assert all(word in words for word in (*name.split(), *says.split())), name


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{to: distanze, number: 20}", "controller Knobs: .* no button 'distanze'; did you mean 'distance'"),
        ("{to: blend, number: 20}\n  - {to: fill, number: 20}", "blend and fill both use cc 20"),
    ],
)
def test_settings_that_cannot_be(run: Run, tiny: Path, tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(f"controllers:\n  Knobs:\n  - {line}\n")
    before = path.read_bytes()
    fails(run("run", "-p", tiny, "--config", path), re.escape(str(path)), said, "correct it")
    assert path.read_bytes() == before


def test_a_preset_that_would_go_before_one_that_comes_with_rtgen(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    shipped = find("presets", "vary")
    before = shipped.read_bytes()
    desk = Desk()
    with desk.remote:
        save = ("presets", "save", "vary", "--osc", str(desk.remote.port))
        fails(run(*save), "preset vary comes with rtgen; choose another name, or say --over")
        assert find("presets", "vary") == shipped
        status, out, _ = run(*save, "--over")
        assert (status, out) == (0, f"saved as {tmp_path / 'rtgen' / 'presets' / 'vary.yaml'}\n")
    assert find("presets", "vary").is_relative_to(tmp_path)
    assert shipped.read_bytes() == before


def test_a_session_log_that_is_cut(run: Run, tmp_path: Path) -> None:
    log, _ = performed(tmp_path / "a.rtlog")
    data = log.read_bytes()
    assert run("replay", log)[1].endswith("answers: the same bytes\n")
    log.write_bytes(data[: len(data) * 2 // 3])
    status, out, _ = run("replay", log, "--out", tmp_path / "a.mid")
    assert status == 0
    assert re.search(r"answers: the same bytes; the log has no end: rtgen was killed .* was cut off$", out)
    assert files.read(tmp_path / "a.mid").tracks[0].notes()
    log.write_bytes(data[:40])
    fails(run("replay", log), "a.rtlog has no readable start, so it cannot be replayed; delete it")


def test_an_input_that_is_not_there_cannot_be_ignored(run: Run, tiny: Path) -> None:
    words = ("run", "-p", tiny, "--in", "KeyStep", "--in", "Pads", "--ignore-programs")
    fails(
        run(*words, "Keys", "--ignore-programs", "nano"),
        "--ignore-programs nano names no input; name one of KeyStep, P",
    )


@pytest.mark.parametrize("name", ["", "a/b", "a:b", "é" * 21])
def test_a_name_that_ports_cannot_have(run: Run, tiny: Path, name: str) -> None:
    fails(run("run", "-p", tiny, "--name", name), f"--name '{name}' cannot name ports; use up to 40")


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("--preset", "shadwo"), ("there is no preset called 'shadwo'",)),
        (("--bars", "99"), ("bars",)),
        (("--model", "nix"), ("nix",)),
        (("--log", "x.log"), ("a service logs to .*; remove --log",)),
        (("--clips", "here"), ("give --clips as a whole path: /",)),
        (("--preset", "./p.yaml"), ("give --preset as a whole path: /",)),
        (("--config", "wrong.yaml"), ("give --config as a whole path",)),
    ],
)
def test_a_service_that_would_not_start_is_not_installed(
    run: Run,
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    parts: tuple[str, ...],
) -> None:
    monkeypatch.setattr("rtgen.rig.service.install", lambda arguments: "installed")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.yaml").write_text(tiny.read_text("utf-8"), "utf-8")
    fails(run("service", "install", *words), *parts)


@pytest.mark.parametrize("words", [("--tempoo", "3"), ("--panel-port", "99999"), ("x",)])
def test_a_service_with_options_that_there_are_not(
    run: Run, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setattr("rtgen.rig.service.install", lambda arguments: "installed")
    status, out, err = run("service", "install", *words)
    assert status == 2
    assert "installed" not in out
    assert "Traceback" not in err
    assert run("service", "install", "--preset", "shadow", "--in", "keys", "--sessions", "off")[:2] == (
        0,
        "installed\n",
    )


def test_a_panel_without_osc(run: Run, tiny: Path) -> None:
    for words in ("--panel",), ("--panel-port", "8000"):
        fails(run("run", "-p", tiny, "--osc", "off", *words), "needs OSC; remove --osc off")


@pytest.mark.parametrize("words", [(), ("--token", "")])
def test_a_panel_for_the_network_without_a_token(run: Run, words: tuple[str, ...]) -> None:
    fails(run("panel", "--host", "0.0.0.0", *words), "everybody in the network could play your rig; give a token")


def test_a_token_in_the_command_line(run: Run) -> None:
    fails(run("panel", "--token", "correct-horse"), "--token takes 'new' or a file", "which others can see")


def test_a_panel_on_a_port_that_is_taken(run: Run) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        fails(run("panel", "--port", str(number)), f"port {number} is not available", "choose another --port")


def test_a_preset_with_a_mistake(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("distence: 0.5\n")
    fails(run("demo", "-p", path), "distence", "did you mean 'distance'")


def test_a_model_that_is_none(run: Run, tmp_path: Path, song: Path) -> None:
    model, preset = tmp_path / "m.onnx", tmp_path / "p.yaml"
    model.write_bytes(b"nothing of the kind")
    preset.write_text(f"model: {model}\n")
    fails(run("render", song, tmp_path / "o.mid", "-p", preset), "m.onnx is not an ONNX model", "export it again")
    # In real time it is the worker that finds out.
    fails(run("demo", "-p", preset, "--out", tmp_path), "m.onnx is not an ONNX model", "export it again")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not a readable MIDI file"),
        (b"MThd" + struct.pack(">IHHh", 6, 2, 0, 96), "type 2"),
        (b"MThd" + struct.pack(">IHHh", 6, 1, 0, 0), "division of 0"),
        (b"MThd" + struct.pack(">IHHh", 6, 1, 0, 96), "no notes"),
    ],
)
def test_a_file_that_cannot_be_played(run: Run, tmp_path: Path, tiny: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "in.mid"
    path.write_bytes(data)
    fails(run("render", path, tmp_path / "o.mid", "-p", tiny), "in.mid", reason)
    fails(run("render", tmp_path / "none.mid", tmp_path / "o.mid", "-p", tiny), "none.mid does not exist")


def test_a_folder_that_cannot_be_written(run: Run, tmp_path: Path, tiny: Path, song: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    fails(run("demo", "-p", tiny, "--out", in_the_way / "sub", "--fast"), "cannot be written", "--out")
    fails(run("render", song, in_the_way / "o.mid", "-p", tiny), "cannot be written", "choose another folder")


def test_mistakes_reach_a_shell_as_status_2() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "rtgen", "demo", "--preset", "nix"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("rtgen: ")


def test_the_real_time_side_imports_no_numbers() -> None:
    """Neither numpy nor onnxruntime nor torch, as far as `rtgen run` goes before its loop."""
    code = (
        "import sys, rtgen.cli, rtgen.rig.runner, rtgen.rig.demo;"
        "print([m for m in ('numpy', 'onnxruntime', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_page_of_controls_is_what_the_command_prints(run: Run) -> None:
    status, out, _ = run("controls", "--markdown")
    assert status == 0
    page = Path(__file__).parents[1] / "docs" / "controls.md"
    assert out.strip() in page.read_text("utf-8"), "run 'python -m train.pages'"


@pytest.mark.parametrize(
    ("command", "meant"),
    [(("press", "frezee"), "freeze"), (("set", "distanse", "1"), "distance"), (("get", "temp"), "tempo")],
)
def test_an_unknown_knob_or_button_is_told_without_asking_anybody(
    run: Run, command: tuple[str, ...], meant: str
) -> None:
    fails(run(*command), f"there is no .*{command[1]}.*did you mean '{meant}'.*rtgen controls")


@pytest.mark.parametrize(
    "command",
    [("status",), ("get", "distance"), ("set", "distance", "0.5"), ("press", "panic"), ("learn", "blend")],
)
def test_without_a_daemon_there_is_nothing_to_tell(run: Run, command: tuple[str, ...]) -> None:
    fails(run(*command, "--osc", "1"), "no running rtgen answers")
    status, _, err = run(*command, "--osc", "99999")
    assert status == 2
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("pre", {"presets", "press"}),
        ("get scal", {"scale"}),
        ("set us", {"use"}),
        ("set use fol", {"follow"}),
        ("set preset sha", {"shadow"}),
        ("press pan", {"panic"}),
        ("learn store_", {"store_a", "store_b"}),
        ("run --preset sha", {"shadow"}),
        ("run --model comp", {"composer"}),
    ],
)
def test_a_shell_completes_what_is_typed(typed: str, completed: set[str]) -> None:
    words = f"rtgen {typed}"
    env = {**os.environ, "_RTGEN_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    code = "import sys; sys.argv = ['rtgen']; from rtgen.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert completed <= set(done.stdout.split())
    assert all(word.startswith(words.split()[-1]) for word in done.stdout.split())
