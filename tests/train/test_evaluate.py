from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from rtgen.errors import UserError
from rtgen.inference.card import Latent
from rtgen.inference.model import Model
from rtgen.music.attributes import NAMES, SD
from rtgen.music.note import Loop, Note
from rtgen.music.time import Metre
from tests.data import make_tiny
from tests.train import songs
from train.loops import dataset
from train.loops.sample import GRID
from train.measures import codes, evaluate, knobs, notes, repair, sequences
from train.measures.counted import Counted, known
from train.measures.music import Library, in_key, onset_f1, repeats, runs, spearman
from train.measures.score import note_f1
from train.measures.sequences import BackOff, foretold
from train.measures.table import Figure, flat, table
from train.prepare.prepare import prepare
from train.prepare.sources.find import find

TINY = Path(__file__).parents[1] / "data" / "tiny.onnx"
LOOPS = [Loop(3840, songs.song(seed, 2)) for seed in range(8)]


@pytest.fixture(scope="module")
def library(small_data: Path) -> Library:
    return Library(dataset.load(small_data, "train"))


def test_repair_is_shown_beside_its_baselines(library: Library) -> None:
    found = repair.scores(Model(TINY), LOOPS, library, 0)
    assert list(found)[:4] == ["identity", "nearest sixteenth", "in scale", Model(TINY).card.name]
    heard = repair.damaged(LOOPS, 0)
    assert found["identity"]["f1_exact"] == [note_f1(a, b, GRID) for a, b in zip(heard, LOOPS, strict=True)]
    assert found["identity"]["do_no_harm"] == [1.0] * 8
    own = found[Model(TINY).card.name]
    assert min(own["distance_rank"]) > 0.9
    assert min(own["anchors_held"]) == 1
    assert np.mean(own["knob_density_rank"]) > 0.95
    assert np.mean(own["knob_register_range"]) > 1.5
    assert np.mean(own["knob_velocity_leak"]) < 0.35
    assert set(own) <= set(evaluate.WORDS)
    gaps = [name for name, measures in found.items() if "infill_f1" in measures]
    assert gaps == [Model(TINY).card.name, "copy of the other bar", "notes by chance"]


def test_codes_are_shown_beside_real_music(small_data: Path, tmp_path: Path) -> None:
    onnx.save(make_tiny.build_code(), tmp_path / "code.onnx")
    model = Model(tmp_path / "code.onnx")
    found = evaluate.evaluate(model, small_data, "train", "set", 6)
    own = found[model.card.name]
    assert own["blend_between"].mean == 1
    assert own["distance_rank"].mean > 0.9
    assert found["nearest training loop"]["reconstruction_f1"].mean == 1  # they are training loops
    assert found[codes.HELD_OUT]["generate_copies"].mean == 1
    assert all(0 < each["generate_likeness"].mean <= 1 for name, each in found.items() if "generate_copies" in each)
    assert found["random notes"]["generate_copies"].mean == 0
    assert set(own) <= set(evaluate.WORDS)


def test_what_comes_next_is_shown_beside_markov(small_data: Path, tmp_path: Path) -> None:
    onnx.save(make_tiny.build_sequence(), tmp_path / "next.onnx")
    model = Model(tmp_path / "next.onnx")
    found = evaluate.evaluate(model, small_data, "train", "set", 12)
    bits = {name: figures["bits"].mean for name, figures in found.items() if "bits" in figures}
    assert bits["Markov, order 3"] < bits["Markov, order 1"] < bits["unigram"]
    assert bits[model.card.name] > 0
    assert set(found[model.card.name]) <= set(evaluate.WORDS)


def test_what_is_said_next_is_shown_beside_what_was_counted(small_data: Path, tmp_path: Path) -> None:
    onnx.save(make_tiny.build_composer(), tmp_path / "next.onnx")
    model = Model(tmp_path / "next.onnx")
    found = evaluate.evaluate(model, small_data, "train", "set", 12)
    bits = {name: figures["bits_a_note"].mean for name, figures in found.items() if "bits_a_note" in figures}
    # They have counted this very music.
    assert bits["Markov, order 3"] < bits["Markov, order 1"] < bits["unigram"] < bits[model.card.name]
    assert found["Markov, order 3"]["next_pitch"].mean > found["unigram"]["next_pitch"].mean
    own = found[model.card.name]
    assert 0 < own["continue_density"].mean < 5
    assert found[codes.HELD_OUT]["continue_copies"].mean == 1
    assert own["continue_copies"].mean < 0.5
    assert set(own) <= set(evaluate.WORDS)


def test_a_network_is_asked_for_the_chances_that_it_has(small_data: Path, tmp_path: Path) -> None:
    """One to which everything is as likely as anything else, but for one pitch."""
    favourite = 48
    proto = make_tiny.build_composer(favour={(1, favourite): 50.0})
    for tensor in proto.graph.initializer:
        if tensor.name == "head":
            nothing = np.zeros_like(onnx.numpy_helper.to_array(tensor))
            tensor.CopyFrom(onnx.numpy_helper.from_array(nothing, "head"))
    onnx.save(proto, tmp_path / "flat.onnx")
    model = Model(tmp_path / "flat.onnx")
    (heard,) = notes._passages(dataset.load(small_data, "train", duplicates=True), np.array([0]))
    found = notes._a_note([notes.foretold(model, heard)])
    following = heard.note[0, 1:][heard.there[0, 1:] > 0]
    right = (following[:, 1] == favourite).mean()
    assert found["next_pitch"] == [pytest.approx(right)]
    assert 0 < right < 1
    shifts, _, durations, velocities, _ = np.log2(model.card.classes())
    assert found["bits_velocity"] == [pytest.approx(velocities, abs=1e-3)]
    # Any other pitch has fifty nats less than this one.
    missed = (1 - right) * 50 / np.log(2)
    assert found["bits_a_note"] == [pytest.approx(shifts + durations + missed, abs=0.1)]


def test_what_was_counted_falls_back_on_less() -> None:
    there = np.ones((1, 400), bool)
    pitches = np.array([1, 2, 1, 3] * 100)
    columns = known(np.stack([pitches * 0, pitches, pitches * 0, pitches * 0], axis=1)[None], there)
    assert columns["pitch0"].tolist() == pitches[1:].tolist()
    assert columns["pitch1"].tolist() == pitches[:-1].tolist()
    assert columns["pitch3"][:3].tolist() == [10_000, 10_000, 1]

    def bits(*context: str) -> float:
        counted = Counted(columns, "pitch", context, 5)
        assert counted.chances(columns, np.broadcast_to(np.arange(5), (399, 5))).sum(axis=1) == pytest.approx(1)
        return float(-np.log2(counted.chances(columns, columns["pitch0"][:, None])).mean())

    assert bits() == pytest.approx(1.5, abs=0.05)
    assert bits("pitch1") == pytest.approx(0.5, abs=0.1)
    assert bits("pitch1", "pitch2", "pitch3") < 0.1
    # What never came is told by what is shorter: after a 4 anything.
    unheard = {**columns, "pitch1": columns["pitch1"] * 0 + 4}
    plain, new = (
        Counted(columns, "pitch", c, 5).chances(unheard, columns["pitch0"][:, None]) for c in ((), ("pitch1",))
    )
    assert np.array_equal(plain, new)


def test_a_figure_that_goes_round_is_counted() -> None:
    round_and_round = Loop(3840, tuple(Note(t, 60 + t // 240 % 4, 200) for t in range(0, 3840, 240)))
    moved = round_and_round.with_notes(Note(n.onset, n.pitch + 5, n.duration) for n in round_and_round.notes)
    library = Library(dataset.Loops(np.zeros((0, 5), np.int32), np.zeros(1, np.int64), *[np.zeros(0)] * 7))
    figures = sequences.measured([moved, Loop(3840, LOOPS[0].notes[:3])], [round_and_round, LOOPS[0]], library)
    assert figures["continue_repeats"][0] == pytest.approx(1 - 4 / 13)
    assert figures["continue_copies_call"][0] == 1
    assert np.isnan(figures["continue_copies_call"][1])


def test_what_comes_again_in_the_next_bar() -> None:
    bar = [Note(480 * i, 60 + i, 400) for i in range(4)]
    again = [Note(n.onset + 1920, n.pitch + (n.pitch > 61), 200) for n in bar]
    assert repeats(Loop(3840, tuple(bar))) == 0
    assert repeats(Loop(3840, (*bar, *again))) == pytest.approx(2 / 6)
    late = [Note(n.onset + 1930, n.pitch, 200) for n in bar]  # less than half a step
    assert repeats(Loop(3840, (*bar, *late))) == 1
    assert np.isnan(repeats(Loop(3840)))
    assert np.isnan(repeats(Loop(1920, tuple(bar))))


def test_a_table_has_intervals_and_leaves_out_what_is_no_number() -> None:
    figures = table({"a": {"m": [0.0, 1.0, float("nan")]}, "b": {"m": [float("nan")]}})
    assert (figures["a"]["m"].mean, figures["a"]["m"].count) == (0.5, 2)
    assert figures["a"]["m"].low <= 0.5 <= figures["a"]["m"].high
    assert str(figures["b"]["m"]) == "-"
    assert flat(figures, "a") == {"m": 0.5, "m_low": 0.0, "m_high": 1.0}
    assert flat({"own": {"m": Figure(0.5, 0.4, 0.6, 9)}, "some base": {"m": Figure(0.1, 0, 1, 9)}}, "own") == {
        "m": 0.5,
        "m_low": 0.4,
        "m_high": 0.6,
        "m_some_base": 0.1,
    }


def test_a_copy_is_found_in_any_key_and_a_new_loop_is_not(library: Library, small_data: Path) -> None:
    loops = dataset.load(small_data, "train")
    (known,) = dataset.to_loops(loops.take(np.array([3])), 1)
    moved = known.with_notes(Note(n.onset, n.pitch + 2, n.duration, 1) for n in known.notes)
    assert library.copies(known) == library.copies(moved) == 1
    rng = np.random.default_rng(0)
    assert library.copies(codes.random_notes(known, rng)) == 0
    assert library.copies(known.with_notes(known.notes[:7])) == 0
    assert library.nearest([known])[0] == known


def test_runs_do_not_cross_from_loop_to_loop() -> None:
    one = np.array([(0, 40 * i, 60 + i, 40, 64) for i in range(9)], np.int32)
    both = one.copy()
    both[5:, 0] = 1
    assert len(runs(one)) == 2
    assert len(runs(both)) == 0
    assert runs(one)[0] == runs(one)[1]


def test_measures_of_music() -> None:
    scale = Loop(1920, tuple(Note(i * 240, 60 + p, 240) for i, p in enumerate((0, 2, 4, 5, 7, 9, 11, 12))))
    assert in_key(scale) == 1
    assert np.isnan(in_key(Loop(1920)))
    assert onset_f1(scale, scale) == 1
    assert spearman([1, 2, 3], [10, 20, 30]) == pytest.approx(1)
    assert spearman([1, 2, 3], [5, 5, 5]) == 0
    assert spearman([1, 2, 3, 4], [3, 1, 4, 2]) == pytest.approx(0)


def test_a_knob_is_measured_by_its_attribute_and_by_what_else_moves() -> None:
    def at(velocity: int, up: int) -> Loop:
        return Loop(3840, tuple(Note(i * 480, 60 + up, 240, velocity) for i in range(8)))

    right = [[at(60 + 2 * i, i // 2) for i in range(9)]] * 2
    found = knobs.moved("knob", "velocity", right)
    assert found["knob_rank"] == [pytest.approx(1)] * 2
    assert found["knob_range"] == [pytest.approx(16 / SD[NAMES.index("velocity")])] * 2
    assert found["knob_leak"][0] == pytest.approx((4 / SD[NAMES.index("register")]) / (16 / 12.5))
    still = knobs.moved("knob", "density", right)
    assert still["knob_rank"] == [0, 0]
    assert np.isnan(still["knob_leak"]).all()


def test_a_gap_that_is_repeated_in_the_other_bar_is_best_filled_by_a_copy() -> None:
    bar = [(0, 60), (480, 64), (720, 67), (1440, 62)]
    loops = [Loop(3840, tuple(Note(t + start, p + up, 200) for start in (0, 1920) for t, p in bar)) for up in range(4)]
    found = repair.filled_in(Model(TINY), loops, 0)
    assert found["copy of the other bar"]["infill_f1"] == [1.0] * 4
    assert found["copy of the other bar"]["infill_notes"] == [1.0] * 4
    assert np.mean(found["notes by chance"]["infill_f1"]) < 0.5


def test_pure_latents_are_measured_where_they_are_named(tmp_path: Path) -> None:
    card = replace(make_tiny.AUTOENCODER, latents=(Latent("register", -2, 2), *make_tiny.AUTOENCODER.latents[1:]))
    onnx.save(make_tiny.build_code(card), tmp_path / "named.onnx")
    found = knobs.pure(Model(tmp_path / "named.onnx"), LOOPS)
    assert set(found) == {f"latent_register_{what}" for what in ("rank", "range", "leak")}
    assert len(found["latent_register_rank"]) == 8
    assert set(found) <= set(evaluate.WORDS)
    assert not knobs.pure(Model(tmp_path / "named.onnx"), [])["latent_register_rank"]


def test_a_cross_fade_goes_from_one_end_to_the_other() -> None:
    a, b = LOOPS[:2]
    assert codes.cross_fade(a, b, 0) == a
    assert codes.cross_fade(a, b, 1) == b
    found = codes.blended(codes.cross_fade, [(a, b)])
    assert found["blend_step"][0] >= 1
    assert found["blend_in_key"][0] == 1  # both are in C


def test_a_longer_memory_foretells_a_pattern_better() -> None:
    song = [1, 2, 1, 3] * 50
    found = [
        foretold([np.stack([BackOff([song], order, 5).probabilities(song[:i]) for i in range(1, 200)])], [song])
        for order in (0, 1, 3)
    ]
    bits = [f["bits"][0] for f in found]
    assert bits[0] == pytest.approx(1.5, abs=0.05)
    assert bits[1] == pytest.approx(0.5, abs=0.1)
    assert bits[2] < 0.1
    assert found[2]["accuracy"][0] > 0.98
    assert BackOff([song], 3, 5).probabilities([4, 4]).sum() == pytest.approx(1)


@pytest.fixture(scope="module")
def waltzes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty songs in 3/4 as a dataset."""
    folder = tmp_path_factory.mktemp("waltzes")
    for seed in range(30):
        songs.save(folder / "set" / f"{seed}.mid", songs.song(seed), metre=Metre(3, 4))
    prepare(find([folder / "set"]), folder / "data")
    return folder / "data"


@pytest.mark.parametrize("bars", [1, 2, 4])
def test_other_metres_and_lengths_are_measured(waltzes: Path, tmp_path: Path, bars: int) -> None:
    onnx.save(make_tiny.build_code(), tmp_path / "code.onnx")
    onnx.save(make_tiny.build_sequence(), tmp_path / "next.onnx")
    for path in TINY, tmp_path / "code.onnx", tmp_path / "next.onnx":
        model = Model(path)
        found = evaluate.evaluate(model, waltzes, "train", "set", 3, metre="3/4", bars=bars)
        assert found[model.card.name]
        if model.card.role == "denoiser":
            assert found[model.card.name]["do_no_harm"].mean == 1  # it gives back what it hears
            assert found["identity"]["f1_exact"].mean < 0.9
        if model.card.role == "autoencoder":
            assert found["nearest training loop"]["reconstruction_f1"].mean == 1
            assert found[codes.HELD_OUT]["generate_copies"].mean > 0


def test_damaged_loops_keep_their_metre() -> None:
    waltz = Loop(2880, songs.song(3, 2)[:9], 1440)
    assert {(loop.length, loop.bar) for loop in repair.damaged([waltz] * 5, 0)} == {(2880, 1440)}


def test_a_metre_that_is_none_is_a_sentence(waltzes: Path) -> None:
    with pytest.raises(UserError, match="'waltz' is not a valid metre"):
        evaluate.evaluate(Model(TINY), waltzes, "train", "set", metre="waltz")
    with pytest.raises(UserError, match="3 bars are not supported; choose one of 1, 2, 4, 8"):
        evaluate.evaluate(Model(TINY), waltzes, "train", "set", metre="3/4", bars=3)
    with pytest.raises(UserError, match="no loops of set for 'train' with 2 bars of 4 beats"):
        evaluate.evaluate(Model(TINY), waltzes, "train", "set")


def test_a_split_that_is_not_there_is_a_sentence(small_data: Path) -> None:
    with pytest.raises(UserError, match="unknown split 'dev'; choose train"):
        evaluate.evaluate(Model(TINY), small_data, "dev")


def test_the_command_prints_every_measure(small_data: Path) -> None:
    command = [sys.executable, "-m", "train", "evaluate", str(TINY), "--data", str(small_data), "--split", "all"]
    done = subprocess.run([*command, "--loops", "3", "--set", "set"], capture_output=True, text=True, check=True)
    assert "knob distance" in " ".join(done.stdout.split())
    done = subprocess.run([*command, "--loops", "3", "--set", "set", "--json"], capture_output=True, check=True)
    assert {"f1_exact", "f1_exact_identity", "distance_rank"} <= set(json.loads(done.stdout))


def test_songs_to_foretell_are_of_all_sets(small_data: Path) -> None:
    loops = dataset.load(small_data, "train", duplicates=True)
    whole = sequences.Streams(loops, make_tiny.PIECES, 10**6, 0)
    assert sum(map(len, whole.loops)) == len(loops)
    some = sequences.Streams(loops, make_tiny.PIECES, len(loops) // 3, 0)
    assert len(loops) // 3 <= sum(map(len, some.loops)) < len(loops)
    assert some.loops == whole.loops[: len(some.loops)]
    order = [next(i for i in range(len(loops)) if loops.as_loops(np.array([i])) == song[:1]) for song in whole.loops]
    assert order != sorted(order)
