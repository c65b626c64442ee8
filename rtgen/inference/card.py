"""The model contract: the metadata that an `.onnx` file needs for rtgen to run it.

A card is one JSON object under the metadata key `rtgen`. Any model with a valid card, and with the inputs and outputs
of its role, can be played without changing rtgen. See `docs/contract.md` for the full description.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from math import isfinite, prod
from reprlib import repr as shortened
from typing import Any, Literal

from rtgen.errors import UserError
from rtgen.inference import ear
from rtgen.inference.chords import TOLD
from rtgen.inference.sheet import KNOWN, LOOK, RHYTHM, SOUNDING, STATIC
from rtgen.inference.spelling import Spelling
from rtgen.instrument.job import ANSWERS, Mode
from rtgen.music.attributes import NAMES
from rtgen.music.chord import Kind
from rtgen.music.drums import TAP
from rtgen.music.time import Grid
from rtgen.text import plain

FORMAT_VERSION = 1
METADATA_KEY = "rtgen"
PLANES = ("onset", "hold", "velocity", "micro")
"""Planes of a piano roll, in stacking order."""

Shape = tuple[int | str, ...]
"""Tensor dimensions: numbers, or the names of the free ones, `batch`, `steps` and `time`."""
INTEGERS = frozenset({"symbol", "note", "given", "chosen"})
"""Inputs and outputs that are int64; all others are float32."""
CHOICES = 5
"""Choices that make up a note: shift, pitch, duration, velocity, timing."""
MAX_LATENTS = 4096
MAX_SYMBOLS = 65_536
MAX_KINDS = 256
MAX_STATE = 2**20
"""Largest size of a state, in numbers per sequence."""
_MAX_SYMBOL_STEPS = 10_000
_MAX_TIMING = 480
_MAX_NESTING = 32
"""Deepest lists and objects in a card; printing it takes several calls for each."""
_LONGEST_REASON = 300
"""Characters of a message about a card, which may repeat what it says."""


@dataclass(frozen=True, slots=True)
class Condition:
    """An input that steers the model: float32 of shape (batch, size).

    Args:
        name: input name.
        size: values per loop.
        default: values used when none are given.
        help: one-line description.
    """

    name: str
    size: int
    default: tuple[float, ...]
    help: str = ""


@dataclass(frozen=True, slots=True)
class Latent:
    """A dimension of the latent code.

    Args:
        name: shown to the player.
        low: lower end of the range found in the training data.
        high: upper end.
        mean: mean of the normal distribution from which new codes are sampled.
        sd: its standard deviation.
    """

    name: str
    low: float
    high: float
    mean: float = 0.0
    sd: float = 1.0


@dataclass(frozen=True, slots=True)
class State:
    """Recurrent state of a sequence model: an input, and the output `<name>_next`.

    Args:
        name: input name.
        shape: dimensions, one of which is `batch`. A sequence starts from zeros.
    """

    name: str
    shape: Shape


@dataclass(frozen=True, slots=True)
class Symbol:
    """One token of a sequence model: strike these pitches together, then advance by `steps`.

    Without pitches it is a rest. Without pitches and steps it is padding, which is never sampled.
    """

    pitches: tuple[int, ...]
    steps: int


@dataclass(frozen=True, slots=True)
class Data:
    """A training set."""

    name: str
    licence: str
    credit: str = ""


@dataclass(frozen=True, slots=True)
class Card:
    """A model's metadata.

    Args:
        name: model name.
        role: kind of model; a key of `ROLES`.
        grid: steps and pitches of its rolls.
        min_steps: shortest input, in steps.
        max_steps: longest input, in steps.
        step_multiple: the number of steps must be a multiple of this.
        description: one sentence for the player.
        family: what it is listed under, apart from others; empty for none.
        conditions: further inputs.
        latents: dimensions of its latent code, if it has one.
        states: recurrent states of a sequence model.
        vocabulary: symbols of a sequence model, by index.
        spelling: note classes of a composer.
        chords: kinds of chords that a harmoniser tells apart.
        in_key: whether its input and output are transposed to C major or A minor.
        prior: whether an autoencoder also has a prior, which maps noise and attributes to codes.
        threshold: onset probability from which a cell counts as a note.
        data: training sets with licences.
        metrics: measured figures by name, including baselines.
        training: how it was trained (commands, wall time, parameters, seed ...).
    """

    name: str
    role: str
    grid: Grid = field(default_factory=Grid)
    min_steps: int = 48
    max_steps: int = 1536
    step_multiple: int = 1
    description: str = ""
    family: str = ""
    conditions: tuple[Condition, ...] = ()
    latents: tuple[Latent, ...] = ()
    states: tuple[State, ...] = ()
    vocabulary: tuple[Symbol, ...] = ()
    spelling: Spelling | None = None
    chords: tuple[Kind, ...] = ()
    in_key: bool = False
    prior: bool = False
    threshold: float = 0.5
    data: tuple[Data, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> Role:
        """The role and its traits."""
        return ROLES[self.role]

    def inputs(self) -> dict[str, Shape]:
        """Names and shapes of all inputs: those of the role, the states and the conditions."""
        states = {state.name: state.shape for state in self.states}
        conditions: dict[str, Shape] = {c.name: ("batch", c.size) for c in self.conditions}
        of_prior = _PRIOR.inputs if self.prior else {}
        return {**self._sized({**self.kind.inputs, **of_prior}), **states, **conditions}

    def outputs(self) -> dict[str, Shape]:
        """Names and shapes of all outputs: those of the role and the states."""
        states = {f"{state.name}_next": state.shape for state in self.states}
        of_prior = _PRIOR.outputs if self.prior else {}
        return {**self._sized({**self.kind.outputs, **of_prior}), **states}

    def halves(self) -> Mapping[str, Sequence[str]]:
        """For a model in parts, map the first input of each part to the outputs that only that part computes."""
        return {**self.kind.halves, **(_PRIOR.halves if self.prior else {})}

    def classes(self) -> tuple[int, ...]:
        """Number of shift, pitch, duration, velocity and timing classes; empty without a spelling."""
        if (s := self.spelling) is None:
            return ()
        return (len(s.shifts), self.grid.pitches, len(s.durations), len(s.velocities), len(s.timings))

    def _sized(self, shapes: Mapping[str, Sequence[str | int]]) -> dict[str, Shape]:
        """Replaces dimension names by the sizes known from the card."""
        sizes = {"pitches": self.grid.pitches, "latents": len(self.latents), "symbols": len(self.vocabulary)}
        sizes["classes"] = sum(self.classes())
        sizes["chords"] = 12 * len(self.chords) + 1
        if self.min_steps == self.max_steps:
            sizes["steps"] = self.max_steps
        return {name: tuple(sizes.get(str(d), d) for d in dimensions) for name, dimensions in shapes.items()}

    def metadata(self) -> dict[str, str]:
        """The metadata that an exporter writes into the `.onnx` file."""
        said = {name: value for name, value in asdict(self).items() if value is not None}
        for name in ("chords", "family"):
            if not said[name]:
                del said[name]  # so that an earlier rtgen can read the cards of other models
        return {METADATA_KEY: json.dumps({"format_version": FORMAT_VERSION, **said}, sort_keys=True)}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], file: str) -> Card:
        """Reads the card from an `.onnx` file's metadata.

        Args:
            metadata: the file's custom metadata.
            file: file name for error messages.

        Raises:
            UserError: the card is missing, has another format version, or has a missing or invalid field.
        """
        if METADATA_KEY not in metadata:
            raise UserError(
                f"{file} is an ONNX model, but its metadata has no '{METADATA_KEY}' card; export it with rtgen-train"
            )
        try:
            fields = json.loads(metadata[METADATA_KEY])
            version = fields.pop("format_version")
            if _nests(fields) > _MAX_NESTING:
                raise ValueError
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
            raise UserError(f"{file}: the card in its metadata is not readable; export it again") from None
        if version != FORMAT_VERSION:
            raise UserError(
                f"{file} has a card of format version {shortened(version)}, this rtgen reads {FORMAT_VERSION}; "
                f"export the model again or install the rtgen that made it"
            )
        role = fields.get("role")
        if not isinstance(role, str) or role not in ROLES:
            raise UserError(
                f"{file}: field 'role' of its card is {shortened(role)}; this rtgen plays {', '.join(ROLES)}"
            )
        try:
            return _build(fields)
        except (TypeError, ValueError, KeyError, AttributeError, ArithmeticError) as error:
            reason = str(error)[:_LONGEST_REASON]
            raise UserError(f"{file}: its card does not fit the contract ({reason}); export it again") from error


@dataclass(frozen=True, slots=True)
class Role:
    """Inputs and outputs required of a kind of model.

    Args:
        modes: modes it can play.
        inputs: names and shapes.
        outputs: names and shapes.
        halves: for a model in two halves, maps an input to the outputs that only its half computes.
        needs: card fields that the role requires, of those in `_OWN`; it has no others of them.
        in_key: whether its models must hear all music in one key, or must not; None: either.
        pitched: whether pitches are notes; otherwise they are drums.
        unit: what one run of the network answers.
    """

    modes: tuple[Mode, ...]
    inputs: Mapping[str, Sequence[str | int]]
    outputs: Mapping[str, Sequence[str | int]]
    halves: Mapping[str, Sequence[str]] = field(default_factory=dict)
    needs: frozenset[str] = frozenset()
    in_key: bool | None = None
    pitched: bool = True
    unit: Literal["loop", "symbol", "note", "half beat"] = "loop"

    @property
    def fills(self) -> bool:
        """Whether it fills in hidden cells."""
        return "mask" in self.inputs

    @property
    def encodes(self) -> bool:
        """Whether it encodes loops."""
        return "mean" in self.outputs

    @property
    def decodes(self) -> bool:
        """Whether it decodes latent codes."""
        return "code" in self.inputs

    @property
    def hears(self) -> bool:
        """Whether it reads the input note by note before it has to answer."""
        return self.unit == "note"


_ROLL = ("batch", len(PLANES), "pitches", "steps")
_PLANES = dict.fromkeys(PLANES, ("batch", "pitches", "steps"))
ROLES: dict[str, Role] = {
    # roll: the planes of `PLANES`, 0 where masked. mask: 1 where the roll is masked and to be filled in.
    # phase: `roll.bar_phase`. Outputs are probabilities (onset, hold), velocity / 127 and steps (micro).
    "denoiser": Role(
        modes=("clean", "vary"),
        inputs={"roll": _ROLL, "mask": ("batch", "pitches", "steps"), "phase": ("batch", 4, "steps")},
        outputs=_PLANES,
    ),
    # Same as a denoiser; pitches are drums.
    "drummer": Role(
        modes=("clean", "vary", "generate"),
        inputs={"roll": _ROLL, "mask": ("batch", "pitches", "steps"), "phase": ("batch", 4, "steps")},
        outputs=_PLANES,
        in_key=False,
        pitched=False,
    ),
    # mean: the latent code of the roll. The planes are decoded from `code`.
    "autoencoder": Role(
        modes=("vary", "blend", "generate"),
        inputs={"roll": _ROLL, "code": ("batch", "latents")},
        outputs={"mean": ("batch", "latents"), **_PLANES},
        halves={"roll": ("mean",), "code": PLANES},
    ),
    "generator": Role(modes=("generate",), inputs={"code": ("batch", "latents")}, outputs=_PLANES),
    # symbol: indices. logits: of the next symbol, at each position. The states are added under the card's names.
    "sequence": Role(
        modes=("continue",),
        inputs={"symbol": ("batch", "time")},
        outputs={"logits": ("batch", "time", "symbols")},
        needs=frozenset({"states", "vocabulary"}),
        unit="symbol",
    ),
    # note: the five classes of the current note. place: step within the bar, and steps per bar. known: of the note's
    # loop and beat. rhythm: of the steps ahead. columns, harmony: from the note's step on. sounding: what sounds there
    # (all of `rtgen.inference.sheet`). given: fixed choices, or -1. chance: natural log probabilities. The states are
    # added.
    "composer": Role(
        modes=("continue", "vary", "blend", "generate"),
        inputs={
            "note": ("batch", CHOICES),
            "place": ("batch", 2),
            "known": ("batch", KNOWN),
            "rhythm": ("batch", RHYTHM),
            "columns": ("batch", LOOK, STATIC, "pitches"),
            "harmony": ("batch", LOOK, 2 * TOLD),
            "sounding": ("batch", SOUNDING, "pitches"),
            "given": ("batch", CHOICES),
            "noise": ("batch", "classes"),
            "temperature": ("batch", 1),
            "least": ("batch", 1),
            "bias": ("batch", "pitches"),
        },
        outputs={"chosen": ("batch", CHOICES), "chance": ("batch", CHOICES)},
        needs=frozenset({"states", "spelling"}),
        in_key=True,
        unit="note",
    ),
    # heard, chord, place: of `rtgen.inference.ear`. chance: natural log probabilities of the chord of the half beat to
    # come: twelve times the card's kinds, C first, then no chord. The states are added. It answers no loops.
    "harmoniser": Role(
        modes=("accompany",),
        inputs={
            "heard": ("batch", 12, ear.HEARD),
            "chord": ("batch", 12, ear.TOLD),
            "place": ("batch", ear.PLACE),
        },
        outputs={"chance": ("batch", "chords")},
        needs=frozenset({"states", "chords"}),
        in_key=False,
        unit="half beat",
    ),
}
_PRIOR = Role(
    modes=(),
    inputs={"noise": ("batch", "latents"), "attributes": ("batch", len(NAMES))},
    outputs={"drawn": ("batch", "latents")},
    halves={"noise": ("drawn",)},
)
"""Further inputs and outputs of an autoencoder with a prior: maps standard normal noise and attributes, in standard
deviations, to codes."""
_OWN = ("states", "vocabulary", "spelling", "chords")
"""Card fields that only some roles have, and which they require."""


def modes_of(card: Card) -> tuple[Mode, ...]:
    """Return the modes in which a model answers loops."""
    return tuple(mode for mode in card.kind.modes if mode in ANSWERS)


def _build(fields: dict[str, Any]) -> Card:
    fields = dict(fields)
    if fields.get("spelling") is not None:
        fields["spelling"] = Spelling(**{name: tuple(values) for name, values in fields["spelling"].items()})
    for name in ("name", "description", "family"):
        if not isinstance(fields.get(name, ""), str):
            raise ValueError(f"field '{name}' is not text")
        if name in fields:
            fields[name] = plain(fields[name])
    for name in ("metrics", "training"):
        if not isinstance(fields.get(name, {}), dict):
            raise ValueError(f"field '{name}' is not an object")
    fields["grid"] = Grid(**fields["grid"])
    fields["conditions"] = tuple(
        Condition(c["name"], int(c["size"]), tuple(map(float, c["default"])), c.get("help", ""))
        for c in fields.get("conditions", ())
    )
    fields["latents"] = tuple(Latent(**latent) for latent in fields.get("latents", ()))
    fields["states"] = tuple(State(s["name"], tuple(s["shape"])) for s in fields.get("states", ()))
    fields["vocabulary"] = tuple(Symbol(tuple(s["pitches"]), s["steps"]) for s in fields.get("vocabulary", ()))
    fields["chords"] = tuple(Kind(_text(k["name"]), tuple(k["steps"]), k["bass"]) for k in fields.get("chords", ()))
    fields["data"] = tuple(Data(**d) for d in fields.get("data", ()))
    card = Card(**fields)
    _check_types(card)
    for condition in card.conditions:
        if len(condition.default) != condition.size:
            raise ValueError(f"condition '{condition.name}' has {len(condition.default)} defaults of {condition.size}")
    if not 1 <= card.min_steps <= card.max_steps <= 100_000 or card.step_multiple < 1:
        raise ValueError("fields 'min_steps', 'max_steps' and 'step_multiple' are not a valid range")
    if card.max_steps // card.step_multiple * card.step_multiple < card.min_steps:
        raise ValueError("no multiple of 'step_multiple' lies between 'min_steps' and 'max_steps'")
    if not 0 < card.threshold < 1:
        raise ValueError(f"field 'threshold' is {card.threshold}, not between 0 and 1")
    if type(card.in_key) is not bool:
        raise ValueError(f"field 'in_key' is {card.in_key!r}, not true or false")
    if card.kind.in_key not in (None, card.in_key):
        must = "hears all music in one key" if card.kind.in_key else "has no key"
        raise ValueError(f"field 'in_key' is {card.in_key}, but a model of role '{card.role}' {must}")
    if not card.kind.pitched and not card.grid.pitch_low <= TAP <= card.grid.pitch_high:
        raise ValueError(f"its grid has no pitch {TAP}, which carries the tapped rhythm for a drummer")
    if type(card.prior) is not bool or (card.prior and not card.kind.encodes):
        raise ValueError(f"field 'prior' is {card.prior!r}, which a model of role '{card.role}' cannot have")
    _check_latents(card)
    _check_sequence(card)
    return card


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{shortened(value)} stands where a text should")
    return plain(value)


def _nests(value: Any) -> int:
    """Returns how deep lists and objects are nested in a value."""
    depth, level = 0, [value]
    while level := [each for each in level if isinstance(each, list | dict)]:
        depth += 1
        level = [inner for each in level for inner in (each.values() if isinstance(each, dict) else each)]
    return depth


def _check_types(card: Card) -> None:
    """Check that numbers are whole, and texts are text, where nothing else looks."""
    grid = card.grid
    whole: dict[str, Any] = {name: getattr(card, name) for name in ("min_steps", "max_steps", "step_multiple")}
    whole |= {name: getattr(grid, name) for name in ("steps_per_beat", "pitch_low", "pitch_high")}
    for name, value in whole.items():
        if type(value) is not int:
            raise ValueError(f"'{name}' is {shortened(value)}, not a whole number")
    texts = [text for c in card.conditions for text in (c.name, c.help)]
    texts += [text for d in card.data for text in (d.name, d.licence, d.credit)]
    for text in texts:
        if not isinstance(text, str):
            raise ValueError(f"{shortened(text)} stands where a text should")


def _check_latents(card: Card) -> None:
    if card.kind.decodes:
        if not card.latents:
            raise ValueError(f"a model of role '{card.role}' needs the field 'latents'")
        if card.min_steps != card.max_steps:
            # The code does not encode the length.
            raise ValueError(f"a model of role '{card.role}' has one length: 'min_steps' must equal 'max_steps'")
    if len(card.latents) > MAX_LATENTS:
        raise ValueError(f"{len(card.latents)} latents are more than {MAX_LATENTS}")
    for latent in card.latents:
        if not isinstance(latent.name, str):
            raise ValueError(f"the name of a latent is {latent.name!r}, not text")
        if not (all(map(isfinite, (latent.low, latent.high, latent.mean, latent.sd))) and latent.low < latent.high):
            raise ValueError(f"latent '{latent.name}' has no range")
        if latent.sd <= 0:
            raise ValueError(f"latent '{latent.name}' has a standard deviation of {latent.sd}")


def _check_sequence(card: Card) -> None:
    """Check that the fields of autoregressive models are valid, and present exactly where the role requires them."""
    needed = card.kind.needs
    for name in _OWN:
        if bool(getattr(card, name)) is not (name in needed):
            says = "needs the" if name in needed else "has no"
            raise ValueError(f"a model of role '{card.role}' {says} field '{name}'")
    taken = {*card.kind.inputs, *card.kind.outputs}
    for state in card.states:
        if not isinstance(state.name, str) or state.name in taken:
            raise ValueError(f"a state cannot be called {state.name!r}")
        taken |= {state.name, f"{state.name}_next"}
        sizes = [d for d in state.shape if d != "batch"]
        if len(sizes) != len(state.shape) - 1 or not all(type(d) is int and d > 0 for d in sizes):
            raise ValueError(f"state '{state.name}' has the shape {list(state.shape)}, not numbers and one 'batch'")
        if prod(d for d in sizes if isinstance(d, int)) > MAX_STATE:
            raise ValueError(f"state '{state.name}' has more than {MAX_STATE} numbers")
    if card.spelling is not None:
        _check_spelling(card.spelling)
    if card.vocabulary:
        _check_vocabulary(card)
    _check_chords(card.chords)


def _check_spelling(spelling: Spelling) -> None:
    ranges = {
        "shifts": (0, _MAX_SYMBOL_STEPS),
        "durations": (1, _MAX_SYMBOL_STEPS),
        "velocities": (1, 127),
        "timings": (-_MAX_TIMING, _MAX_TIMING),
    }
    for name, (low, high) in ranges.items():
        values = getattr(spelling, name)
        whole = len(values) <= MAX_SYMBOLS and all(type(n) is int and low <= n <= high for n in values)
        if not values or not whole or any(a >= b for a, b in pairwise(values)):
            raise ValueError(f"the {name} of the field 'spelling' must be rising whole numbers from {low} to {high}")
    if not spelling.shifts[-1]:
        raise ValueError("the field 'spelling' has no shift greater than 0")


def _check_chords(kinds: Sequence[Kind]) -> None:
    if len(kinds) > MAX_KINDS:
        raise ValueError(f"{len(kinds)} kinds of chords are more than {MAX_KINDS}")
    for number, kind in enumerate(kinds):
        steps = kind.steps
        whole = all(type(n) is int and 0 <= n < 12 for n in (*steps, kind.bass))
        if not whole or steps[:1] != (0,) or any(a >= b for a, b in pairwise(steps)):
            raise ValueError(f"kind {number} of the field 'chords' is not a name and rising semitones from 0 to 11")


def _check_vocabulary(card: Card) -> None:
    if len(card.vocabulary) > MAX_SYMBOLS:
        raise ValueError(f"{len(card.vocabulary)} symbols are more than {MAX_SYMBOLS}")
    for number, symbol in enumerate(card.vocabulary):
        whole = all(type(n) is int for n in (*symbol.pitches, symbol.steps))
        if not whole or not 0 <= symbol.steps <= _MAX_SYMBOL_STEPS or not all(0 <= p <= 127 for p in symbol.pitches):
            raise ValueError(f"symbol {number} has pitches outside 0 to 127, or no valid number of steps")
    if not any(s.pitches for s in card.vocabulary) or not any(s.steps for s in card.vocabulary):
        raise ValueError("the field 'vocabulary' has no symbol with pitches, or none with steps")
