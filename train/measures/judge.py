"""The judge: can a classifier tell answers from music that musicians made?

A classifier two-sample test (Lopez-Paz and Oquab, Revisiting Classifier Two-Sample Tests, 2017): gradient boosting on
`train.measures.features` is trained to tell answers from real loops, on songs that no model was trained on, and is
tested on other songs. The area under its ROC curve is .5 if answers cannot be told from music, and 1 if they always
can. Rows with real music, repeated calls and random notes calibrate it in every run.

Beside it stand faults, which are counted by rule (`train.measures.faults`). Nothing may be trained on either.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtgen.errors import UserError
from rtgen.inference.model import Model
from rtgen.inference.modes import answer
from rtgen.instrument.preset import Preset
from rtgen.music import key
from rtgen.music.note import Loop
from train.loops import dataset
from train.loops.dataset import Loops
from train.measures.faults import FAULTS, faults
from train.measures.features import Features, of_loop, of_pair

try:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score
    from threadpoolctl import threadpool_limits
except ImportError as error:
    raise UserError(f"the judge needs {error.name}; run pip install 'rtgen[judge]'") from error

FOLDS = 5
PAST = 8
"""Most loops of a song before the call that an answer may know."""
_SETTINGS = {
    "max_iter": 150,
    "learning_rate": 0.08,
    "max_leaf_nodes": 12,
    "min_samples_leaf": 10,
    "l2_regularization": 1.0,
}
_ROUNDS = 200
"""Bootstrap rounds over songs for the confidence interval."""


@dataclass(frozen=True, slots=True)
class Example:
    """A call of a song, with the loops around it.

    Args:
        song: name, for the folds.
        past: loops before the call, the oldest first.
        call: the loop that is answered.
        following: the loop that follows it in the song.
    """

    song: str
    past: tuple[Loop, ...]
    call: Loop
    following: Loop


Answerer = Callable[[Example, int], Loop]
"""Answers an example; the number is the seed."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What the judge says of one contender.

    Args:
        alone: of its answers by themselves.
        beside: of its answers, each with its call.
        faults: share of its answers with each fault.
        answers: one for each example.
    """

    alone: Verdict
    beside: Verdict
    faults: Mapping[str, float]
    answers: tuple[Loop, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """How well answers can be told from music.

    Args:
        auc: area under the ROC curve.
        low: lower end of its 95 % interval, by bootstrap over songs.
        high: upper end.
        telling: the features that tell most by themselves: name, AUC, mean of answers, mean of music.
    """

    auc: float
    low: float
    high: float
    telling: tuple[tuple[str, float, float, float], ...]

    def __str__(self) -> str:
        return f"{self.auc:.3f} ({self.low:.2f}-{self.high:.2f})"


def examples(
    data: Path | str, split: str, sets: Sequence[str] | None, count: int, seed: int, bar: int
) -> list[Example]:
    """Calls of a split with what came before and after, evenly over its songs.

    Raises:
        UserError: there is no dataset, or no loops of this kind.
    """
    length = dataset.BARS * bar
    loops = dataset.load(data, split, sets, length=length, bar=bar, duplicates=True)
    follows = _follows(loops)
    rng = np.random.default_rng(seed)
    by_song: dict[str, list[int]] = {}
    for i in np.flatnonzero(follows[:-1] & (loops.filled[:-1] == length) & (loops.filled[1:] == length)):
        by_song.setdefault(f"{loops.sets[i]}/{loops.songs[i]}", []).append(int(i))
    queues = {song: rng.permutation(found).tolist() for song, found in sorted(by_song.items())}
    chosen: list[tuple[str, int]] = []
    while len(chosen) < count and any(queues.values()):
        chosen += [(song, queue.pop()) for song, queue in queues.items() if queue]
    return [_example(loops, follows, song, i) for song, i in chosen[:count]]


def _follows(loops: Loops) -> NDArray[np.bool_]:
    """Whether each loop is followed by the next one of its track; the last is not."""
    same = loops.starts[1:] == loops.starts[:-1] + loops.length
    for names in loops.sets, loops.songs, loops.tracks:
        same &= names[1:] == names[:-1]
    return np.concatenate([same, [False]])


def _example(loops: Loops, follows: NDArray[np.bool_], song: str, i: int) -> Example:
    first = i
    while first > max(i - PAST, 0) and follows[first - 1]:
        first -= 1
    *past, call, following = loops.as_loops(np.arange(first, i + 2))
    return Example(song, tuple(past), call, following)


def judge(
    made: Sequence[Features], songs: Sequence[str], real: Sequence[Features], real_songs: Sequence[str], seed: int = 0
) -> Verdict:
    """Train and test the classifier, with folds by song.

    Args:
        made: features of answers.
        songs: the song of each.
        real: features of music.
        real_songs: the song of each.
        seed: of the folds, the classifier and the bootstrap.

    Raises:
        UserError: there are too few songs.
    """
    names = sorted({name for each in (*made, *real) for name in each})
    table = np.array([[each.get(name, np.nan) for name in names] for each in (*made, *real)])
    labels = np.array([1] * len(made) + [0] * len(real))
    of_song = np.array([*songs, *real_songs])
    every = sorted(set(of_song.tolist()))
    if len(every) < 2 * FOLDS:
        raise UserError(f"the judge needs music of at least {2 * FOLDS} songs, and there are {len(every)}")
    fold = dict(
        zip(np.random.default_rng(seed).permutation(every).tolist(), np.arange(len(every)) % FOLDS, strict=True)
    )
    folds = np.array([fold[song] for song in of_song.tolist()])
    scores = np.zeros(len(labels))
    for number in range(FOLDS):
        inside = folds != number
        model = HistGradientBoostingClassifier(**_SETTINGS, random_state=seed)
        weights = np.where(labels[inside] == 1, (labels[inside] == 0).mean(), (labels[inside] == 1).mean())
        with threadpool_limits(1):  # more threads wait for each other longer than they compute
            model.fit(table[inside], labels[inside], sample_weight=weights)
        # By rank within the fold: folds are classifiers of their own, whose scores cannot be compared.
        found = model.predict_proba(table[~inside])[:, 1]
        scores[~inside] = np.argsort(np.argsort(found)) / max(len(found) - 1, 1)
    low, high = _interval(scores, labels, of_song, seed)
    return Verdict(float(roc_auc_score(labels, scores)), low, high, _telling(table, labels, names))


def _interval(
    scores: NDArray[np.float64], labels: NDArray[np.int64], songs: NDArray[np.str_], seed: int
) -> tuple[float, float]:
    rng = np.random.default_rng(seed)
    places = {song: np.flatnonzero(songs == song) for song in np.unique(songs)}
    found = []
    for _ in range(_ROUNDS):
        drawn = np.concatenate([places[song] for song in rng.choice(list(places), len(places))])
        if 0 < labels[drawn].sum() < len(drawn):
            found.append(float(roc_auc_score(labels[drawn], scores[drawn])))
    low, high = np.percentile(found, [2.5, 97.5])
    return float(low), float(high)


def _telling(
    table: NDArray[np.float64], labels: NDArray[np.int64], names: Sequence[str], most: int = 6
) -> tuple[tuple[str, float, float, float], ...]:
    """The features whose values alone tell answers from music best."""
    found = []
    for name, column in zip(names, table.T, strict=True):
        known = np.isfinite(column)
        if not 0 < labels[known].sum() < known.sum():
            continue
        auc = float(roc_auc_score(labels[known], column[known]))
        made, real = (float(column[known & (labels == label)].mean()) for label in (1, 0))
        found.append((name, auc, made, real))
    return tuple(sorted(found, key=lambda each: -abs(each[1] - 0.5))[:most])


def judged(answerer: Answerer, some: Sequence[Example], others: Sequence[Example]) -> Judged:
    """Judge a contender.

    Args:
        answerer: the contender.
        some: examples that it answers.
        others: examples whose real next loops are the music that its answers are held against.
    """
    answers = [answerer(example, seed) for seed, example in enumerate(some)]
    calls = [example.call for example in some]
    songs, real_songs = [e.song for e in some], [e.song for e in others]
    music, real_calls = [e.following for e in others], [e.call for e in others]
    found = [faults(call, answer) for call, answer in zip(calls, answers, strict=True)]
    return Judged(
        judge([of_loop(x) for x in answers], songs, [of_loop(x) for x in music], real_songs),
        judge(
            [of_pair(*pair) for pair in zip(calls, answers, strict=True)],
            songs,
            [of_pair(*pair) for pair in zip(real_calls, music, strict=True)],
            real_songs,
        ),
        {fault: float(np.mean([each[fault] for each in found])) for fault in FAULTS},
        tuple(answers),
    )


def plain(found: Judged) -> dict[str, Any]:
    """A row for JSON."""
    return {
        "alone": found.alone.auc,
        "alone_low": found.alone.low,
        "alone_high": found.alone.high,
        "beside": found.beside.auc,
        "beside_low": found.beside.low,
        "beside_high": found.beside.high,
        "faults": dict(found.faults),
        "telling": [list(each) for each in found.beside.telling],
    }


def plays(preset: Preset, model: Model) -> Answerer:
    """The answers of a preset, as it is played; a blend lies between the loop before the call, and the call."""

    def answerer(example: Example, seed: int) -> Loop:
        ends = (example.past[-1] if example.past else example.call, example.call)
        past = example.past if preset.mode == "continue" or model.card.kind.hears else ()
        return answer(
            model,
            example.call,
            preset.mode,
            preset.knobs,
            seed,
            past=past,
            ends=ends if preset.mode == "blend" else None,
        )

    return answerer


# ---- what the judge is calibrated by ---------------------------------------------------------------------------------


def real_next(example: Example, seed: int) -> Loop:
    """The loop that follows in the song."""
    del seed
    return example.following


def repeated(example: Example, seed: int) -> Loop:
    """The call once more."""
    del seed
    return example.call


def random_in_key(example: Example, seed: int) -> Loop:
    """As many notes as in the call, in its key and register, on its rhythm."""
    rng = np.random.default_rng(seed)
    call, scale = example.call, key.estimate(example.call.notes)
    low, high = min(n.pitch for n in call.notes), max(n.pitch for n in call.notes)
    inside = [p for p in range(low, high + 1) if scale is None or scale.contains(p)]
    onsets = rng.permutation([n.onset for n in call.notes])
    notes = [
        replace(n, onset=int(onset), pitch=int(rng.choice(inside)), duration=min(n.duration, call.length - int(onset)))
        for n, onset in zip(call.notes, onsets, strict=True)
    ]
    return call.with_notes(notes).monophonic_by_pitch()


CALIBRATION: Mapping[str, Answerer] = {
    "real next loop": real_next,
    "the call repeated": repeated,
    "random notes in key": random_in_key,
}
