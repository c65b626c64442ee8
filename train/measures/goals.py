"""Target values for the shipped models, printed beside the measured figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from rtgen.music.attributes import NAMES
from train.measures.codes import HELD_OUT
from train.measures.table import Figure, Table


@dataclass(frozen=True, slots=True)
class Goal:
    """A target value.

    Args:
        side: the figure must be at least the target, at most the target, or within `value` of another contender.
        value: the target, or the tolerance.
        beside: contender that gives the target or the reference; None for a fixed target.
    """

    side: Literal["at least", "at most", "within"]
    value: float = 0.0
    beside: str | None = None

    def met(self, figure: float, figures: Table, measure: str) -> bool | None:
        """Whether a figure meets the goal; None if the other contender was not measured."""
        bar = self.value
        if self.beside is not None:
            if self.beside not in figures or measure not in figures[self.beside]:
                return None
            other = figures[self.beside][measure].mean
            if self.side == "within":
                return abs(figure - other) <= self.value
            bar = other + self.value
        return figure >= bar if self.side == "at least" else figure <= bar

    def __str__(self) -> str:
        sign = {"at least": "≥", "at most": "≤", "within": "±"}[self.side]
        if self.beside is None:
            return f"{sign} {self.value:g}"
        if self.side == "within":
            return f"{self.beside} {sign} {self.value:g}"
        return f"{sign} {self.beside}" + (
            f" {'-' if self.value < 0 else '+'} {abs(self.value):g}" if self.value else ""
        )


ORDER_3 = "Markov, order 3"
CHAIN, HEARD_OUT = "Markov chain", "Markov chain, heard to the end"
GOALS: dict[str, tuple[Goal, ...]] = {
    **{f"{how}f1_exact": (Goal("at least", 0.85),) for how in ("", "as_measured_")},
    **{f"{how}f1_near": (Goal("at least", 0.88),) for how in ("", "as_measured_")},
    **{f"{how}f1_near_and_end": (Goal("at least", 0.80),) for how in ("", "as_measured_")},
    "do_no_harm": (Goal("at least", 0.98),),
    "distance_rank": (Goal("at least", 0.95),),
    "noise_rank": (Goal("at least", 0.95),),
    **{f"knob_{name}_rank": (Goal("at least", 0.95),) for name in NAMES},
    **{f"knob_{name}_range": (Goal("at least", 1.5),) for name in NAMES},
    **{f"knob_{name}_leak": (Goal("at most", 0.35),) for name in NAMES},
    "reconstruction_f1": (Goal("at least", 0.75),),
    "blend_step": (Goal("at most", 2.0),),
    "blend_in_key": (Goal("at least", 0.95),),
    "blend_between": (Goal("at least", 1.0),),
    "generate_copies": (Goal("at most", beside=HELD_OUT),),
    "bits_a_note": (Goal("at most", 7.5), Goal("at most", beside=ORDER_3)),
    "next_pitch": (Goal("at least", 0.35),),
    "continue_in_key": (Goal("within", 0.02, HELD_OUT),),
    "continue_copies": (Goal("at most", beside=HELD_OUT),),
    **{f"share{of}": (Goal("at least", 0.5), Goal("at least", 0.1, CHAIN)) for of in ("", "_notes")},
    "root": (Goal("at least", beside=HEARD_OUT),),
}
"""Goals by measure; purely descriptive measures have none."""
GOALS_OF: Mapping[str, Mapping[str, tuple[Goal, ...]]] = {
    "conv_dae": {"f1_exact": (Goal("at least", 0.80),), "do_no_harm": (Goal("at least", 0.99),)},
    "mlp_vae": {"reconstruction_f1": (Goal("at least", 0.46),)},
    "dcgan": {"generate_likeness": (Goal("at least", 0.85),), "generate_repeats": (Goal("within", 0.05, HELD_OUT),)},
    "nemui": {"reconstruction_f1": (Goal("at least", 0.60),)},
    "note_lstm": {"bits": (Goal("at most", -0.3, ORDER_3),)},
    "music_vae": {"reconstruction_f1": (Goal("at least", 0.60),)},
    "music_vae_melody": {"reconstruction_f1": (Goal("at least", 0.90),)},
}
"""Goals of single models, by name and measure; they stand in place of those above."""


def goals_of(model: str, measure: str) -> tuple[Goal, ...]:
    """The goals of a model by a measure, if there are any."""
    return GOALS_OF.get(model, {}).get(measure) or GOALS.get(measure, ())


def judged(own: Mapping[str, Figure], measure: str, figures: Table, model: str = "") -> tuple[str, str]:
    """Return the goal of a measure as text, and "met" or "missed"; empty strings if there is no goal.

    Args:
        own: the model's figures.
        measure: its name.
        figures: figures of all contenders.
        model: name of the model, which may have goals of its own.
    """
    goals = goals_of(model, measure)
    if not goals or measure not in own:
        return "", ""
    met = [goal.met(own[measure].mean, figures, measure) for goal in goals]
    return ", ".join(map(str, goals)), "missed" if False in met else "met" if None not in met else ""
