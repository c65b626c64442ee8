"""What is kept: clips, what was learned, and the list of presets that a program change chooses from."""

from __future__ import annotations

import stat
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import mido
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtgen import shipped
from rtgen.errors import UserError
from rtgen.instrument.binding import CODES, DEFAULTS, LAYOUTS, Binding, bound
from rtgen.instrument.notices import KeepAnswer, SaveBindings, SelectPreset, UseClip
from rtgen.instrument.options import Options
from rtgen.instrument.preset import Preset
from rtgen.music import files
from rtgen.music.hand import Hand, Moved
from rtgen.music.note import Loop, Note
from rtgen.rig.kept import clips, config
from rtgen.rig.kept.config import Config
from rtgen.rig.kept.presets import numbered
from rtgen.rig.runner import bindings_of
from rtgen.rig.setup import Setup, named
from rtgen.rig.told.steward import House, Steward
from rtgen.text import plain

LOOP = Loop(3840, tuple(Note(t, (60, 64, 67, 72, 71, 67, 62)[t // 480 % 7], 400, 90) for t in range(0, 3000, 480)))
WHEN = datetime(2026, 11, 21, 17, 4, 5)
TINY = Path(__file__).parents[1] / "data" / "tiny.onnx"


class Playing:
    """Stands for a daemon: remembers what was chosen."""

    def __init__(self) -> None:
        self.chosen = Preset(name="b")
        self.asked: list[tuple[str, str]] = []

    def choose(self, preset: Preset, model: Path) -> None:
        """As `Daemon.choose`."""
        self.chosen = preset
        self.asked.append((preset.name, model.name))

    def modes(self, model: Path) -> tuple[str, ...] | None:
        """As `Daemon.modes`."""
        return ("clean", "vary") if model.name == "mine.onnx" else None


@pytest.fixture
def listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model and four presets, one of them broken."""
    folders = {
        kind: [("yours", tmp_path / "you" / kind), ("shipped", tmp_path / kind)] for kind in ("models", "presets")
    }
    for _, folder in (*folders["models"], *folders["presets"]):
        folder.mkdir(parents=True)
    (tmp_path / "models" / "tiny.onnx").write_bytes(TINY.read_bytes())
    for name, says in {"b": "program: 1", "a": "program: 2", "c": "bars: 1", "bad": "bars: 99"}.items():
        (tmp_path / "presets" / f"{name}.yaml").write_text(f"model: tiny\n{says}\n")
    monkeypatch.setattr(shipped, "folders", folders.__getitem__)
    return tmp_path


def steward(folder: Path) -> tuple[Steward, Playing]:
    playing = Playing()
    house = House(folder / "config.yaml", ("Keys", "Knobs"), folder / "clips")
    return Steward(playing, house), playing  # type: ignore[arg-type]


# ---- presets --------------------------------------------------------------------------------------------------------


def test_presets_stand_in_the_order_of_their_programs(listed: Path) -> None:
    assert [(p.name, p.program) for p in numbered()] == [("b", 1), ("a", 2), ("c", 0)]
    (listed / "you" / "presets" / "mine.yaml").write_text("model: tiny\nprogram: 1\n")
    assert [(p.name, p.program) for p in numbered()] == [("mine", 1), ("a", 2), ("b", 0), ("c", 0)]


def test_those_that_come_with_rtgen_have_a_number_each() -> None:
    programs = [p.program for p in numbered()]
    # Those of the seven stand apart, so that there is room before them.
    first = [program for program in programs if program <= 40]
    assert first == list(range(1, len(first) + 1))
    rest = programs[len(first) :]
    assert rest == list(range(41, 41 + len(rest)))


def test_a_program_chooses_its_preset(listed: Path) -> None:
    keeper, playing = steward(listed)
    assert keeper.see_to(SelectPreset("2")) == "loading preset a ..."
    assert playing.asked == [("a", "tiny.onnx")]
    assert keeper.see_to(SelectPreset("9")) == (
        "no preset has the program 9; 'rtgen presets' lists those that there are"
    )


def test_next_and_previous_go_round(listed: Path) -> None:
    keeper, playing = steward(listed)
    for which in ("next", "next", "next", "previous"):
        keeper.see_to(SelectPreset(which))
    assert [name for name, _ in playing.asked] == ["a", "c", "b", "c"]
    playing.chosen = Preset(name="a")  # the model of the other could not be loaded
    keeper.see_to(SelectPreset("next"))
    assert playing.asked[-1][0] == "c"


@pytest.mark.parametrize(
    "which",
    ["²", "9" * 5000, "x" * 300, "x" * 300 + ".yaml", "~nosuchuser/x.yaml", "/etc/hosts", "../a", "a\0", "0", ""],
)
def test_only_listed_presets_are_loaded_from_outside(listed: Path, which: str) -> None:
    keeper, playing = steward(listed)
    said = keeper.choose(which) or ""
    assert said.startswith(("there is no preset called", "no preset has the program"))
    assert len(said) < 200
    assert said.isprintable()
    assert playing.asked == []


def test_a_listed_preset_is_read_anew_and_the_list_not_at_a_strangers_rate(
    listed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper, playing = steward(listed)
    (listed / "you" / "presets" / "mine.yaml").write_text("model: tiny\nprogram: 9\n")
    assert keeper.choose("mine") is None
    assert keeper.choose("9") is None
    assert playing.asked == [("mine", "tiny.onnx")] * 2
    read: list[int] = []
    monkeypatch.setattr("rtgen.rig.told.steward._RELIST_S", 60.0)
    monkeypatch.setattr("rtgen.rig.kept.presets.numbered", lambda: read.append(1) or [])
    for _ in range(50):
        assert keeper.choose("77") == "no preset has the program 77; 'rtgen presets' lists those that there are"
    assert read == []


def test_a_model_and_a_tempo_from_the_command_line_stay_with_the_next_preset(listed: Path) -> None:
    (listed / "models" / "mine.onnx").write_bytes(TINY.read_bytes())
    (listed / "presets" / "a.yaml").write_text("model: tiny\nmode: generate\nprogram: 2\n")
    _, playing = steward(listed)
    house = House(listed / "config.yaml", ("Keys",), listed / "clips", {"model": "mine", "tempo": 90.0})
    keeper = Steward(playing, house)  # type: ignore[arg-type]
    assert keeper.see_to(SelectPreset("1")) == "loading preset b ..."
    assert (playing.asked[-1], playing.chosen.tempo) == (("b", "mine.onnx"), 90.0)
    # Its own model plays what the given one does not.
    assert keeper.see_to(SelectPreset("2")) == (
        "loading preset a with its own model, as mine does not play generate ..."
    )
    assert (playing.asked[-1], playing.chosen.tempo) == (("a", "tiny.onnx"), 90.0)


# ---- clips ----------------------------------------------------------------------------------------------------------


def test_a_kept_answer_is_a_clip_as_long_as_its_loop(tmp_path: Path) -> None:
    keeper, _ = steward(tmp_path)
    preset = Preset(name="lush", channel=3)
    said = keeper.see_to(KeepAnswer(LOOP, preset, 96.0))
    (path,) = (tmp_path / "clips").iterdir()
    assert said == f"kept as {path}"
    assert path.name.endswith(" 96 BPM lush.mid")
    midi = mido.MidiFile(path)
    assert [sum(message.time for message in track) for track in midi.tracks] == [3840, 3840]
    score = files.read(path)
    assert tuple(score.tracks[0].notes()) == LOOP.notes
    assert [round(tempo) for _, tempo in score.tempos] == [96]


class Writing:
    """Stands for Live: remembers what it is to write, if it is there."""

    def __init__(self, there: bool) -> None:
        self.there, self.kept, self.used = there, list[tuple[Loop, str]](), list[str]()
        self.fired = list[bool]()

    def keep(self, loop: Loop, name: str, *, fires: bool = True) -> bool:
        """As `LiveSet.keep`."""
        self.kept.append((loop, name))
        self.fired.append(fires)
        return self.there

    def answer_clip(self) -> bool:
        """As `LiveSet.answer_clip`."""
        self.used.append("answer")
        return self.there

    def vary_clip(self) -> bool:
        """As `LiveSet.vary_clip`."""
        self.used.append("vary")
        return self.there


@pytest.mark.parametrize("there", [True, False])
def test_a_kept_answer_goes_into_live_as_well(tmp_path: Path, there: bool) -> None:
    keeper, _ = steward(tmp_path)
    live = Writing(there)
    keeper.live = live  # type: ignore[assignment]
    said = keeper.see_to(KeepAnswer(LOOP, Preset(name="lush", bars=1), 96.0))
    (path,) = (tmp_path / "clips").iterdir()
    assert said == f"kept as {path}" + (", and on its way into Live" if there else "")
    assert live.kept == [(LOOP, "lush, C major, 1 bar")]
    assert live.fired == [True]


def test_of_several_that_are_kept_each_has_its_number_and_none_is_launched(tmp_path: Path) -> None:
    keeper, _ = steward(tmp_path)
    live = Writing(there=True)
    keeper.live = live  # type: ignore[assignment]
    for number in (1, 2):
        keeper.see_to(KeepAnswer(LOOP, Preset(name="lush", bars=1), 96.0, number, 2))
    assert [name for _, name in live.kept] == ["lush, C major, 1 bar, 1 of 2", "lush, C major, 1 bar, 2 of 2"]
    assert live.fired == [False, False]
    assert len(list((tmp_path / "clips").iterdir())) == 2


def test_clips_of_live_are_used_where_it_is_spoken_with(tmp_path: Path) -> None:
    keeper, _ = steward(tmp_path)
    assert keeper.see_to(UseClip("answer")) == (
        "clips of Live are read with --live only; restart rtgen with it (docs/ableton.md)"
    )
    live = Writing(there=True)
    keeper.live = live  # type: ignore[assignment]
    for how in ("answer", "vary"):
        assert keeper.see_to(UseClip(how)) == "reading the clip that is selected in Live ..."
    assert live.used == ["answer", "vary"]
    live.there = False
    assert keeper.see_to(UseClip("vary")) == "Live does not answer, so no clip can be read; see docs/ableton.md"


def test_no_clip_is_written_over_another(tmp_path: Path) -> None:
    paths = [clips.keep(LOOP, Preset(), 120.0, tmp_path, WHEN) for _ in range(3)]
    assert [p.name for p in paths] == [f"2026-11-21 17.04.05 C major 120 BPM default{n}.mid" for n in ("", " 2", " 3")]


@pytest.mark.parametrize("apart", [False, True])
def test_a_clip_has_what_shapes_its_notes(tmp_path: Path, apart: bool) -> None:
    messages = [(0, b"\xd2\x30"), (0, b"\x92\x3c\x50"), (100, b"\xe2\x00\x50"), (400, b"\x82\x3c\x00")]
    loop = Loop(1920, (Note(0, 60, 400),), 1920, Hand(tuple(Moved(*each) for each in messages), apart))
    path = clips.keep(loop, Preset().changed(channel=5), 120.0, tmp_path, WHEN)
    found = [(e.tick, e.data) for e in files.read(path).tracks[0].events]
    assert found == [(t, data if apart else bytes((data[0] & 0xF0 | 4,)) + data[1:]) for t, data in messages]


@pytest.mark.parametrize("name", ["x" * 300, "é" * 200, "a\udcff"])
def test_a_preset_of_any_name_has_clips(tmp_path: Path, name: str) -> None:
    path = clips.keep(LOOP, Preset(name=plain(name)), 120.0, tmp_path, WHEN)
    assert len(path.name.encode()) < 200
    assert files.read(path).tracks[0].notes()


def test_without_an_answer_nothing_is_kept(tmp_path: Path) -> None:
    keeper, _ = steward(tmp_path)
    assert keeper.see_to(KeepAnswer(None, Preset(), 120.0)) == "there is no answer to keep yet"


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "clips").write_text("a file")
    keeper, _ = steward(tmp_path)
    said = keeper.see_to(KeepAnswer(LOOP, Preset(), 120.0))
    assert said == f"The clip folder {tmp_path / 'clips'} cannot be written (File exists); choose another with --clips"


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="a folder that is there and nobody can write to")
def test_a_folder_that_is_there_and_cannot_be_written_is_a_sentence() -> None:
    with pytest.raises(UserError, match=r"The clip folder /proc/self cannot be written \(.+\); choose another with"):
        clips.keep(LOOP, Preset(), 120.0, Path("/proc/self"), WHEN)


def test_a_clip_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, score: files.Score) -> None:
        raise UserError(f"{path} cannot be written (No space left on device); choose another folder")

    monkeypatch.setattr(clips, "write", full)
    with pytest.raises(UserError, match="No space left"):
        clips.keep(LOOP, Preset(), 120.0, tmp_path, WHEN)
    assert list(tmp_path.iterdir()) == []


# ---- settings -------------------------------------------------------------------------------------------------------


def test_what_is_learned_is_there_the_next_time(tmp_path: Path) -> None:
    keeper, _ = steward(tmp_path)
    bindings = (Binding("blend", 70, channel=3), Binding("mute", 36, "note", 10, toggles=True))
    assert keeper.see_to(SaveBindings(1, "mute", bindings)) == "learned mute from Knobs"
    keeper.see_to(SaveBindings(0, "fill", (Binding("fill", 9, "cc14"),)))
    found = config.load(tmp_path / "config.yaml")
    assert found.controllers == {"Knobs": bindings, "Keys": (Binding("fill", 9, "cc14"),)}


def test_what_others_learned_meanwhile_stays(tmp_path: Path) -> None:
    ours, theirs = steward(tmp_path)[0], steward(tmp_path)[0]
    blend, fill, mute = Binding("blend", 70), Binding("fill", 71), Binding("mute", 72)
    ours.see_to(SaveBindings(0, "blend", (blend,)))
    theirs.see_to(SaveBindings(0, "fill", (Binding("blend", 24), fill)))
    theirs.see_to(SaveBindings(1, "mute", (mute,)))
    assert config.load(tmp_path / "config.yaml").controllers == {"Keys": (blend, fill), "Knobs": (mute,)}
    # What is on the same knob gives way.
    ours.see_to(SaveBindings(0, "gate", (blend, Binding("gate", 71))))
    assert config.load(tmp_path / "config.yaml").controllers["Keys"] == (blend, Binding("gate", 71))


def test_a_learned_knob_changes_one_line_and_the_players_comments_stay(tmp_path: Path) -> None:
    keeper, _ = steward(tmp_path)
    path = tmp_path / "config.yaml"
    path.write_text("# Mine.\ninputs: [Keys]  # the left one\n\n# Not before it is measured:\n# clock_offset_ms: 3\n")
    keeper.see_to(
        SaveBindings(1, "blend", (*(b for b in DEFAULTS["all"] if b.to != "blend"), Binding("blend", 70, channel=3)))
    )
    assert path.read_text() == (
        "# Mine.\ninputs: [Keys]  # the left one\ncontrollers:\n  Knobs:\n"
        "  - {to: blend, number: 70, channel: 3}\n\n# Not before it is measured:\n# clock_offset_ms: 3\n"
    )
    path.write_text(
        "controllers:\n  # the big one\n  Knobs:\n    - {to: fill, number: 9, kind: cc14}  # fader\n    # outer ring\n"
        "    - to: gate\n      number: 90\n  Keys: [{to: mute, number: 3}]\nlistens: 1 # mine\n"
    )
    keeper.see_to(SaveBindings(1, "gate", (Binding("gate", 91),)))
    keeper.see_to(SaveBindings(0, "swing", (Binding("swing", 92),)))
    assert path.read_text() == (
        "controllers:\n  # the big one\n  Knobs:\n    - {to: fill, number: 9, kind: cc14}  # fader\n    # outer ring\n"
        "    - {to: gate, number: 91}\n  Keys: [{to: mute, number: 3}, {to: swing, number: 92}]\nlistens: 1 # mine\n"
    )


def test_what_is_forgotten_leaves_the_settings(tmp_path: Path) -> None:
    keeper, _ = steward(tmp_path)
    path = tmp_path / "config.yaml"
    path.write_text("listens: 1\ncontrollers:\n  Knobs:\n  - {to: gate, number: 90}\n# the end\n")
    said = keeper.see_to(SaveBindings(1, "gate", DEFAULTS["knobs"][:3]))
    assert said == "forgot what Knobs was to do for gate; a default control change is back at the next start"
    assert path.read_text() == "listens: 1\n# the end\n"


LINES = st.sampled_from(("# a comment", "", "  # deeper", "listens: 2", "takeover: pickup  # soft", "clips: 'a#b'"))
ROW = st.sampled_from(("{to: fill, number: 9}", "{to: gate, number: 10, channel: 2}  # one", "{number: 11, to: blend}"))


@given(
    st.lists(LINES, unique=True, max_size=3),
    st.dictionaries(st.sampled_from(("Keys", "Knobs", "'a: b'")), st.lists(ROW, min_size=1, unique=True), max_size=3),
    st.lists(LINES.filter(lambda line: line.strip()[:1] in ("", "#")), max_size=2),
    st.sampled_from(("  ", "    ")),
    st.sampled_from(("\n", "\r\n")),
    st.lists(st.tuples(st.integers(0, 1), st.sampled_from(("fill", "gate", "swing")), st.booleans()), max_size=4),
)
@settings(max_examples=100)
def test_whatever_is_learned_and_forgotten_no_comment_is_lost(
    above: list[str],
    rows: dict[str, list[str]],
    below: list[str],
    indent: str,
    eol: str,
    changes: list[tuple[int, str, bool]],
) -> None:
    from tempfile import TemporaryDirectory

    named = [line for name, own in rows.items() for line in (f"{indent}{name}:", *(f"{indent}- {row}" for row in own))]
    lines = [*above, *(["controllers:", *named] if named else []), *below]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        path.write_bytes(eol.join([*lines, ""]).encode())
        wanted = config.load(path)
        comments = [line for line in lines if line.strip().startswith("#")]
        for port, to, forgets in changes:
            wanted = wanted.learned(("Keys", "Knobs")[port], to, () if forgets else (Binding(to, 100 + port),))
            config.save(wanted, path)
            assert config.load(path) == wanted
            left = path.read_bytes().decode()
            assert not lines or not left or ("\r\n" in left) == (eol == "\r\n")
            assert [line for line in left.splitlines() if line.strip().startswith("#")] == comments


def test_each_input_has_what_was_chosen_and_learned_for_it() -> None:
    blend = Binding("blend", 70, channel=3)
    setup = Setup(
        inputs=("Keys", "Knobs"),
        output=None,
        api="auto",
        name="rtgen",
        options=Options(),
        controllers={"Keys": (blend,), "rtgen in": (blend,)},
        controls={"Knobs": "all"},
        device="cpu",
        log=None,
        config_path=Path(),
        clips=Path(),
    )
    assert bindings_of(setup, ("Keys", "Knobs"), "rtgen") == {0: bound("knobs", [blend]), 1: DEFAULTS["all"]}
    # A second rtgen begins with what the first has learned, and with what was chosen for it.
    own = bindings_of(replace(setup, controls={"rtgen in": "learned"}), ("rtgen 2 in",), "rtgen 2")
    assert own == {0: (blend,)}
    assert bindings_of(replace(setup, controls="all"), ("Pads",), "rtgen") == {0: DEFAULTS["all"]}


def test_inputs_are_named_in_part(tmp_path: Path) -> None:
    inputs = "KeyStep Pro", "nanoKONTROL"
    assert named(["keystep"], inputs) == (0,)
    assert named(["o"], inputs) == named(["all"], inputs) == (0, 1)
    assert named([], inputs) == named(["Keys"], ("Pads",)) == ()
    (tmp_path / "c.yaml").write_text("ignore_programs: all\n")
    assert config.load(tmp_path / "c.yaml").ignore_programs == ("all",)


def test_settings_that_were_broken_meanwhile_are_left_as_they_are(tmp_path: Path) -> None:
    keeper, _ = steward(tmp_path)
    (tmp_path / "config.yaml").write_text("inputs: [")
    said = keeper.see_to(SaveBindings(0, "blend", (Binding("blend", 70),)))
    assert "config.yaml is not valid YAML at line 1" in said
    assert (tmp_path / "config.yaml").read_text() == "inputs: ["


@given(
    st.builds(
        Config,
        inputs=st.lists(st.text("ab cü:", max_size=5), max_size=2).map(tuple),
        output=st.none() | st.text("xyz #'\"", max_size=5),
        clock_offset_ms=st.floats(-500, 500),
        takeover=st.sampled_from(("none", "pickup", "scale")),
        listens=st.none() | st.integers(1, 16),
        parts=st.booleans(),
        live=st.booleans(),
        live_track=st.none() | st.text("ab #'", max_size=5),
        live_fire=st.booleans(),
        ignore_programs=st.lists(st.text("Kab:", max_size=5), max_size=2).map(tuple),
        controls=st.sampled_from(LAYOUTS)
        | st.dictionaries(st.text("KAx -", max_size=5), st.sampled_from(LAYOUTS), min_size=1),
        controllers=st.dictionaries(
            st.text("KAx -", min_size=1, max_size=5),
            st.tuples(st.builds(Binding, st.just("fill"), st.integers(1, 60), code=st.none() | st.sampled_from(CODES))),
        ),
    )
)
def test_settings_come_back_as_they_were(found: Config) -> None:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        path = Path(folder) / "deep" / "config.yaml"
        config.save(found, path)
        assert config.load(path) == found


def test_there_need_be_no_settings(tmp_path: Path) -> None:
    assert config.load(tmp_path / "none.yaml") == Config()
    (tmp_path / "empty.yaml").touch()
    assert config.load(tmp_path / "empty.yaml") == Config()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("inptus: [a]", "no setting 'inptus'; did you mean 'inputs'"),
        ("inputs: keys", "inputs is 'keys', which is not a valid value"),
        ("listens: 17", "listens is 17"),
        ("live: 1", "live is 1, which is not a valid value"),
        ("parts: bass", "parts is 'bass', which is not a valid value"),
        ("live_track: [a]", "live_track is"),
        ("takeover: jump", "takeover is 'jump'"),
        ("controls: some", "controls is 'some'"),
        ("ignore_programs: Keys", "ignore_programs is 'Keys'"),
        ("controls: {Knobs: [all]}", "controls is {'Knobs'"),
        ("clock_offset_ms: 900", "clock_offset_ms is 900"),
        (
            "controllers: {Knobs: [{to: distanze, number: 3}]}",
            "Knobs: .* 'distanze'; did you mean 'distance'",
        ),
        ("listens: 1\ntakeover: none\nlistens: 2", "listens appears twice, the second time at line 3"),
        (
            "controllers: {Knobs: [{to: blend, number: 3}], Knobs: []}",
            "Knobs appears twice, .* at line 1",
        ),
        ("controllers: {Knobs: [{to: blend, number: 3}, {to: fill, number: 3}]}", "blend and fill both use cc 3"),
        ("controllers: {Knobs: [{to: blend}]}", "is not a binding"),
        ("controllers: {Knobs: 3}", "controller Knobs is not a list of bindings"),
        ("a: &x [*x, *x]", "line 1 has an anchor or alias"),
        ("b: !!python/object/apply:os.system [ls]", "not valid YAML"),
        ("- 3", "not a list of 'setting: value' lines"),
        ("a: [", "not valid YAML at line"),
    ],
)
def test_settings_that_cannot_be_are_a_sentence(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=said) as error:
        config.load(path)
    assert str(path) in str(error.value)


def test_settings_that_cannot_be_written_are_a_sentence_and_the_old_ones_stay(tmp_path: Path) -> None:
    folder = tmp_path / "shut"
    folder.write_text("a file")
    with pytest.raises(UserError, match="cannot be written"):
        config.save(Config(), folder / "config.yaml")
    assert stat.S_ISREG(folder.stat().st_mode)
