"""Training configurations: strictly validated YAML files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from rtgen.errors import UserError, did_you_mean
from rtgen.music.time import Metre
from train.loops.augment import Augmentation

Optimiser = Literal["adamw", "adam", "rmsprop", "muon"]
Schedule = Literal["cosine", "constant"]
_MAX_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Config:
    """A training configuration.

    Args:
        model: architecture; a key of `train.models.NAMES`.
        architecture: its settings.
        augmentation: settings of `train.loops.augment.Augmentation`.
        sets: share of each set in a batch; known sets (`train.loops.dataset.SETS`) not named are left out. None: all
            loops with equal weight.
        metres: share of each metre in training; the first is used for validation. Metres without loops in the dataset
            are left out.
        own: whether the player's own music (sets that are not known) makes up half of each batch.
        loops: number of training loops, divided among the metres by share and spread evenly over the songs; 0 uses all.
        batch: loops per step.
        epochs: passes over the loops, unless a time budget is given.
        optimiser: `adamw`, `adam`, `rmsprop`, or `muon` for matrices with `adamw` for all other weights.
        betas: of Adam.
        learning_rate: peak value.
        schedule: `cosine` (short warm-up, then decay over the time or the epochs) or `constant`.
        weight_decay: of AdamW and Muon.
        clip: largest gradient norm; 0 disables clipping.
        average_over: steps over which the saved weights are averaged (moving average); 0 saves the last weights.
        patience: validations without improvement before early stopping; 0 disables it.
        seed: for all random draws.
    """

    model: str
    architecture: Mapping[str, Any] = field(default_factory=dict)
    augmentation: Mapping[str, Any] = field(default_factory=dict)
    sets: Mapping[str, float] | None = None
    metres: Mapping[str, float] = field(default_factory=lambda: {"4/4": 1.0})
    own: bool = True
    loops: int = 0
    batch: int = 64
    epochs: int = 10
    optimiser: Optimiser = "adamw"
    betas: tuple[float, float] = (0.9, 0.98)
    learning_rate: float = 1e-3
    schedule: Schedule = "cosine"
    weight_decay: float = 0.01
    clip: float = 5.0
    average_over: int = 2000
    patience: int = 0
    seed: int = 1

    def __post_init__(self) -> None:
        """Validates all values.

        Raises:
            ValueError: a value has the wrong type or is out of range.
        """
        for name in "loops", "batch", "epochs", "average_over", "patience", "seed":
            value = getattr(self, name)
            if type(value) is not int or value < (name in ("batch", "epochs")):
                raise ValueError(f"{name} is {value!r}, not an integer of {int(name in ('batch', 'epochs'))} or more")
        for name in "learning_rate", "weight_decay", "clip":
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e6:
                raise ValueError(f"{name} is {value!r}, not a number of 0 or more (in YAML, write 0.001, not 1e-3)")
        for name, kinds in ("optimiser", get_args(Optimiser)), ("schedule", get_args(Schedule)):
            if getattr(self, name) not in kinds:
                raise ValueError(f"{name} is {getattr(self, name)!r}; use one of {', '.join(kinds)}")
        if not isinstance(self.own, bool):
            raise ValueError(f"own is {self.own!r}; use true or false")
        for name in "architecture", "augmentation":
            if not isinstance(getattr(self, name), Mapping):
                raise ValueError(f"{name} is {getattr(self, name)!r}, not a mapping ('setting: value' lines)")
        if self.sets is not None and not (isinstance(self.sets, Mapping) and self.sets and min(self.sets.values()) > 0):
            raise ValueError("sets must give every set a share above 0")
        _check_metres(self.metres)
        known = [f.name for f in fields(Augmentation)]
        for name in self.augmentation:
            if name not in known:
                raise ValueError(f"unknown augmentation {name!r}{did_you_mean(name, known)}")
        Augmentation(**self.augmentation)

    @classmethod
    def of(cls, settings: object) -> Config:
        """Creates a configuration from a mapping.

        Raises:
            ValueError: a key is unknown or missing, or a value is invalid.
        """
        if not isinstance(settings, dict):
            raise ValueError("it is not a mapping ('setting: value' lines)")
        known = {f.name: f for f in fields(cls)}
        for name in settings:
            if name not in known:
                raise ValueError(f"unknown setting {name!r}{did_you_mean(str(name), known)}")
        for name, f in known.items():
            if name not in settings and f.default is MISSING and f.default_factory is MISSING:
                raise ValueError(f"setting {name!r} is missing")
        plain = {**settings}
        if "betas" in plain:
            plain["betas"] = tuple(plain["betas"])
        return cls(**plain)


def _check_metres(metres: object) -> None:
    if not (isinstance(metres, Mapping) and metres):
        raise ValueError(f"metres is {metres!r}; give every metre a share, such as {{4/4: 0.85, 3/4: 0.15}}")
    bars: dict[int, str] = {}
    for name, share in metres.items():
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share < 1e6:
            raise ValueError(f"metres gives {name} a share of {share!r}; it must be above 0")
        bar = Metre.parse(str(name)).bar
        if bar in bars:
            raise ValueError(f"bars of {name} and {bars[bar]} are equally long, so their loops are alike; name one")
        bars[bar] = str(name)


def names() -> list[str]:
    """Names of the configurations that come with rtgen."""
    return sorted(p.name.removesuffix(".yaml") for p in (files("train") / "configs").iterdir() if ".yaml" in p.name)


def read(name: str | Path) -> Config:
    """Reads a YAML file, or the configuration of that name that comes with rtgen.

    Raises:
        UserError: there is no such configuration, or it is invalid.
    """
    own = files("train") / "configs" / f"{name}.yaml"
    path = Path(str(own)) if own.is_file() else Path(name)
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise UserError(f"{path} is larger than {_MAX_BYTES >> 10} KB; a configuration is a few lines of YAML")
        return Config.of(yaml.safe_load(path.read_text("utf-8")))
    except OSError:
        raise UserError(f"no configuration {name}; give a .yaml file or one of {', '.join(names())}") from None
    except (TypeError, ValueError, yaml.YAMLError, RecursionError) as error:
        first = str(error).splitlines()[0]
        raise UserError(f"{path} is not a valid configuration ({first}); see train/configs for examples") from None


def called(config: Config) -> str:
    """Argument that gives this configuration to `fit`: its name in rtgen if it has one, else `MODEL.yaml`."""
    return next((name for name in names() if read(name) == config), f"{config.model}.yaml")


def parse_time(text: str) -> float:
    """Converts a duration such as "90s", "40m" or "1h" to seconds.

    Raises:
        UserError: the text is not a duration.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh])", text.strip())
    if not found:
        raise UserError(f"{text!r} is not a duration; write, for example, 90s, 40m or 1h")
    return float(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2]]
