"""The model contract: what the metadata of an `.onnx` file must say for rtgen to run it.

A card is one JSON object under the metadata key `rtgen`. Whoever exports a model with such a card, and with the inputs
and outputs that its role asks for, can play it without a change in rtgen. `docs/contract.md` tells it at length.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rtgen.errors import UserError
from rtgen.music.time import Grid

FORMAT_VERSION = 1
METADATA_KEY = "rtgen"
PLANES = ("onset", "hold", "velocity", "micro")
"""The planes of a roll, in the order in which they are stacked."""

Shape = tuple[int | str, ...]
"""A tensor's dimensions: numbers, or `batch` and `steps`, which a model leaves free."""


@dataclass(frozen=True, slots=True)
class Condition:
    """An input that steers the model: float32 of shape (batch, size).

    Args:
        name: of the input.
        size: values a loop.
        default: values for when nothing else is asked for.
        help: what it does, one line.
    """

    name: str
    size: int
    default: tuple[float, ...]
    help: str = ""


@dataclass(frozen=True, slots=True)
class Latent:
    """A dimension of the model's code, and the range that its training data used."""

    name: str
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Data:
    """A set the model was trained on."""

    name: str
    licence: str
    credit: str = ""


@dataclass(frozen=True, slots=True)
class Card:
    """What a model says of itself.

    Args:
        name: the model's name.
        role: what it does; a key of `ROLES`.
        grid: steps and pitches of its rolls.
        min_steps: fewest steps that it takes at once.
        max_steps: most.
        step_multiple: the number of steps must be a multiple of this.
        description: one sentence for the player.
        conditions: further inputs.
        latents: the dimensions of its code, if it has one.
        threshold: onset probability from which a cell is a note.
        data: training sets with licences.
        metrics: measured figures by name, the baselines among them.
        training: how it was made (commands, wall time, parameters, seed ...).
    """

    name: str
    role: str
    grid: Grid = field(default_factory=Grid)
    min_steps: int = 48
    max_steps: int = 1536
    step_multiple: int = 1
    description: str = ""
    conditions: tuple[Condition, ...] = ()
    latents: tuple[Latent, ...] = ()
    threshold: float = 0.5
    data: tuple[Data, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)

    def inputs(self) -> dict[str, Shape]:
        """The inputs that the role and the conditions ask for, with their shapes."""
        conditions: dict[str, Shape] = {c.name: ("batch", c.size) for c in self.conditions}
        return {**_expand(ROLES[self.role].inputs, self.grid), **conditions}

    def outputs(self) -> dict[str, Shape]:
        """The outputs that the role asks for, with their shapes."""
        return _expand(ROLES[self.role].outputs, self.grid)

    def metadata(self) -> dict[str, str]:
        """What an exporter writes into the metadata of the `.onnx`."""
        return {METADATA_KEY: json.dumps({"format_version": FORMAT_VERSION, **asdict(self)}, sort_keys=True)}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], file: str) -> Card:
        """The card in an `.onnx` file's metadata.

        Args:
            metadata: the file's custom metadata.
            file: what errors call the file.

        Raises:
            UserError: there is no card, it is of another format version, or a field is missing or wrong.
        """
        if METADATA_KEY not in metadata:
            raise UserError(
                f"{file} is an ONNX model, but its metadata has no '{METADATA_KEY}' card; export it with rtgen-train"
            )
        try:
            fields = json.loads(metadata[METADATA_KEY])
            version = fields.pop("format_version")
        except (ValueError, KeyError, AttributeError, TypeError):
            raise UserError(f"{file}: the card in its metadata is not readable; export it again") from None
        if version != FORMAT_VERSION:
            raise UserError(
                f"{file} has a card of format version {version}, this rtgen reads {FORMAT_VERSION}; "
                f"export the model again or install the rtgen that made it"
            )
        role = fields.get("role")
        if role not in ROLES:
            raise UserError(f"{file}: field 'role' of its card is {role!r}; this rtgen plays {', '.join(ROLES)}")
        try:
            return _build(fields)
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise UserError(f"{file}: its card does not fit the contract ({error}); export it again") from error


@dataclass(frozen=True, slots=True)
class Role:
    """The inputs and outputs that make a model fit for a job."""

    inputs: Mapping[str, Sequence[str | int]]
    outputs: Mapping[str, Sequence[str | int]]


ROLES: dict[str, Role] = {
    # roll: the planes of `PLANES`, 0 where hidden. mask: 1 where the roll is hidden and is to be filled in.
    # phase: `roll.bar_phase`. Outputs are probabilities (onset, hold), velocity / 127 and steps (micro).
    "denoiser": Role(
        inputs={
            "roll": ("batch", len(PLANES), "pitches", "steps"),
            "mask": ("batch", "pitches", "steps"),
            "phase": ("batch", 4, "steps"),
        },
        outputs=dict.fromkeys(PLANES, ("batch", "pitches", "steps")),
    ),
}


def _expand(shapes: Mapping[str, Sequence[str | int]], grid: Grid) -> dict[str, Shape]:
    return {
        name: tuple(grid.pitches if d == "pitches" else d for d in dimensions) for name, dimensions in shapes.items()
    }


def _build(fields: dict[str, Any]) -> Card:
    fields = dict(fields)
    for name in ("name", "description"):
        if not isinstance(fields.get(name, ""), str):
            raise ValueError(f"field '{name}' is not text")
    fields["grid"] = Grid(**fields["grid"])
    fields["conditions"] = tuple(
        Condition(c["name"], int(c["size"]), tuple(map(float, c["default"])), c.get("help", ""))
        for c in fields.get("conditions", ())
    )
    fields["latents"] = tuple(Latent(**latent) for latent in fields.get("latents", ()))
    fields["data"] = tuple(Data(**d) for d in fields.get("data", ()))
    card = Card(**fields)
    for condition in card.conditions:
        if len(condition.default) != condition.size:
            raise ValueError(f"condition '{condition.name}' has {len(condition.default)} defaults of {condition.size}")
    if not 1 <= card.min_steps <= card.max_steps <= 100_000 or card.step_multiple < 1:
        raise ValueError("fields 'min_steps', 'max_steps' and 'step_multiple' are no range")
    if not 0 < card.threshold < 1:
        raise ValueError(f"field 'threshold' is {card.threshold}, not between 0 and 1")
    return card
