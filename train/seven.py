"""The seven systems that the project started from: what was described, what was wrong, what was changed.

`train.pages` makes the tables of `docs/gallery.md` of this and of the cards of the models that come with rtgen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rtgen.inference.card import Card
from train.measures.evaluate import WORDS
from train.measures.goals import goals_of
from train.models import SEVEN


@dataclass(frozen=True, slots=True)
class System:
    """One of the seven.

    Args:
        described: what its author described.
        wrong: what was wrong with it.
        changed: what was changed.
        figures: its measures, each with what it was as described and what it was before the last changes.
        baseline: the contender that is shown beside its figures.
        melody: the same of the model that learnt melodies alone, if there is one.
    """

    described: str
    wrong: str
    changed: str
    figures: Mapping[str, tuple[str, str]]
    baseline: str
    melody: Mapping[str, tuple[str, str]] = field(default_factory=dict)


NEAREST = "nearest training loop"
SYSTEMS: Mapping[str, System] = {
    "conv_dae": System(
        "grey pictures of loops with noise of .5 on every pixel, three layers that halve and three that double",
        "an answer too grey for notes; a cell saw about a beat, in twelve keys, and players make no pixel noise",
        "onsets, damage to whole notes, a skip; one key, windows of three steps and an octave, dilated convolutions "
        "that see a bar to either side and go around, Muon",
        {"f1_exact": (".244 (unrepaired .690)", ".687 (unrepaired .677)"), "do_no_harm": (".325", ".992")},
        "identity",
    ),
    "mlp_vae": System(
        "every cell of a picture to 256, 128 and 64 units and 16 numbers, and back",
        "14 million weights, twelve keys in sixteen numbers, touch in the code",
        "onsets; one key, sixteenths of six octaves, which leaves a sixth of the weights, touch from the player, a "
        "cheap code, Muon",
        {"reconstruction_f1": ("not measured", ".200")},
        NEAREST,
    ),
    "conv_vae": System(
        "pictures of 96 x 96, strided convolutions to a code and back",
        "no note was ever likelier than not; later twelve keys",
        "onsets, biases of silence, decoding by count; windows of an octave and a beat, one key, Muon",
        {"reconstruction_f1": ("no notes", ".655")},
        NEAREST,
    ),
    "dcgan": System(
        "generator and discriminator on the same pictures",
        "the discriminator won for good; loops are in a key, but hardly anything in them follows from anything else",
        "a penalty on the discriminator's slope, binary pictures, onsets, one key; windows of an octave and a beat "
        "that hold both bars, and the discriminator sees how much loops differ",
        {
            "generate_likeness": (".38 to .53", ".62 to .80"),
            "generate_repeats": ("", ""),
            "generate_in_key": (".81 to .96", "1.00"),
        },
        "held-out music",
    ),
    "nemui": System(
        "a song as a function of time, from 0 to 1, and of a code that is learnt with it",
        "long songs were squeezed into 0 to 1; the reader saw a function that knew 2,000 loops, and learnt those",
        "time in beats, onsets, a prior; one key, reader and function learn together from all loops, the code scales "
        "every layer, Muon",
        {"reconstruction_f1": ("no reader", ".374"), "noise_rank": ("", ""), "blend_between": ("", "")},
        NEAREST,
    ),
    "note_lstm": System(
        "the next of notes and chords, each half a beat long, from the last 50: 512, 512 and 256 units",
        "no sense of key, no rhythm, no memory of what was played",
        "waits, chords as they are voiced, one key, the place in the bar, a state that is primed with what was played",
        {
            "bits": ("another vocabulary", "2.47 (half the size; order 3: 2.37)"),
            "continue_in_key": ("", "1.00 (music .93)"),
        },
        "Markov, order 3",
    ),
    "music_vae": System(
        "two bars of melody, read in both directions; a conductor writes a vector for each beat, which is then played",
        "the code was read from the last states, and the conductor had to count beats: repeated notes on the beat",
        "the code is read after every beat, and each beat reads it with weights of its own; one key, onsets, Muon; "
        "`music_vae_melody` for single lines",
        {"reconstruction_f1": ("melodies only", ".333")},
        NEAREST,
        {"reconstruction_f1": ("95 % (paper)", ".299 (342 steps; now .740 after as many)")},
    ),
}
"""By the name of the architecture, in the order of `SEVEN`."""
assert tuple(SYSTEMS) == SEVEN


def story() -> Iterator[Sequence[str]]:
    """Yield the rows of the table of what was described, wrong and changed; headings first."""
    yield "system", "what was described", "what was wrong", "what was changed"
    for name, system in SYSTEMS.items():
        yield f"`{name}`", system.described, system.wrong, system.changed


def worth(cards: Sequence[Card], others: Mapping[str, Mapping[str, float]]) -> Iterator[Sequence[str]]:
    """Yield the rows of the table of what the systems are worth; headings first.

    Args:
        cards: of the models that come with rtgen.
        others: metrics of models that do not, by name.
    """
    yield "system", "measure", "as described", "before", "now", "beside", "goal"
    measured = {**others, **{card.name: card.metrics for card in cards}}
    for name, system in SYSTEMS.items():
        for model, figures in (name, system.figures), (f"{name}_melody", system.melody):
            metrics = measured.get(model, {})
            for measure, (described, before) in figures.items():
                yield (
                    f"`{model}`",
                    WORDS[measure],
                    described,
                    before,
                    _figure(metrics, measure) if metrics else "not trained since",
                    _beside(metrics, measure, system.baseline),
                    ", ".join(map(str, goals_of(model, measure))),
                )


def _figure(metrics: Mapping[str, float], measure: str) -> str:
    if measure not in metrics:
        return ""
    own, low, high = (metrics[f"{measure}{end}"] for end in ("", "_low", "_high"))
    return f"{own:.3f} ({low:.3f}-{high:.3f})"


def _beside(metrics: Mapping[str, float], measure: str, baseline: str) -> str:
    found = metrics.get(f"{measure}_{baseline.replace(' ', '_')}")
    return "" if found is None else f"{found:.3f} ({baseline})"


def made(cards: Sequence[Card], sizes: Mapping[str, int]) -> Iterator[Sequence[str]]:
    """Yield the rows of the table of how the models were made; headings first.

    Args:
        cards: of the models that come with rtgen.
        sizes: of their files, in bytes, by name.
    """
    yield "model", "parameters", "file", "trained for", "loops seen", "modes"
    for card in cards:
        if card.family:
            facts = card.training
            yield (
                f"`{card.name}`",
                f"{facts['parameters']:,}",
                f"{sizes[card.name] / 1e6:.1f} MB",
                f"{facts['wall_s'] / 60:.0f} min",
                f"{facts['loops_seen']:,}",
                ", ".join(card.kind.modes),
            )
