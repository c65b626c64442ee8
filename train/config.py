"""What is to be trained and how: a YAML file, strictly read."""

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
    """What a configuration says.

    Args:
        model: an architecture; a key of `train.models.NAMES`.
        architecture: its settings.
        augmentation: switches of `train.loops.augment.Augmentation`.
        sets: share of each set in a batch; of the known sets (`train.loops.dataset.SETS`) those not named are
            left out. None: all loops alike.
        metres: share of each metre in what is learnt; the first is the one that a model is judged by. Those that the
            dataset has no loops of are left out.
        own: whether music of the player's own, which is of no known set, takes part, as half of each batch.
        loops: how many of those for training are used, of each metre its share, spread evenly over the songs; 0 uses
            all.
        batch: loops in a step.
        epochs: passes over the loops, unless a budget of time is given.
        optimiser: `adamw`, `adam` or `rmsprop`; or `muon` for matrices, and `adamw` for all other weights.
        betas: of Adam.
        learning_rate: its peak.
        schedule: `cosine` goes up quickly and down slowly as the time or the epochs elapse; `constant` stays.
        weight_decay: of AdamW and Muon.
        clip: largest norm of the gradient; 0 leaves it as it is.
        average_over: steps over which the weights that are kept are averaged; 0 keeps the last.
        patience: validations without a better one after which training ends; 0 never does.
        seed: of everything random.
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
        """Checks every value.

        Raises:
            ValueError: one is of the wrong kind or out of range.
        """
        for name in "loops", "batch", "epochs", "average_over", "patience", "seed":
            value = getattr(self, name)
            if type(value) is not int or value < (name in ("batch", "epochs")):
                raise ValueError(f"{name} is {value!r}, not a whole number from {int(name in ('batch', 'epochs'))} up")
        for name in "learning_rate", "weight_decay", "clip":
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e6:
                raise ValueError(f"{name} is {value!r}, not a number from 0 up (in YAML, write 0.001 and not 1e-3)")
        for name, kinds in ("optimiser", get_args(Optimiser)), ("schedule", get_args(Schedule)):
            if getattr(self, name) not in kinds:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it is one of {', '.join(kinds)}")
        if not isinstance(self.own, bool):
            raise ValueError(f"own is {self.own!r}; it is true or false")
        for name in "architecture", "augmentation":
            if not isinstance(getattr(self, name), Mapping):
                raise ValueError(f"{name} is {getattr(self, name)!r}, not a list of 'setting: value' lines")
        if self.sets is not None and not (isinstance(self.sets, Mapping) and self.sets and min(self.sets.values()) > 0):
            raise ValueError("sets has to give every set a share above 0")
        _check_metres(self.metres)
        known = [f.name for f in fields(Augmentation)]
        for name in self.augmentation:
            if name not in known:
                raise ValueError(f"there is no augmentation {name!r}{did_you_mean(name, known)}")
        Augmentation(**self.augmentation)

    @classmethod
    def of(cls, settings: object) -> Config:
        """The configuration in a mapping.

        Raises:
            ValueError: a key is unknown or missing, or a value is wrong.
        """
        if not isinstance(settings, dict):
            raise ValueError("it is no list of 'setting: value' lines")
        known = {f.name: f for f in fields(cls)}
        for name in settings:
            if name not in known:
                raise ValueError(f"there is no setting {name!r}{did_you_mean(str(name), known)}")
        for name, f in known.items():
            if name not in settings and f.default is MISSING and f.default_factory is MISSING:
                raise ValueError(f"setting {name!r} is missing")
        plain = {**settings}
        if "betas" in plain:
            plain["betas"] = tuple(plain["betas"])
        return cls(**plain)


def _check_metres(metres: object) -> None:
    if not (isinstance(metres, Mapping) and metres):
        raise ValueError(f"metres is {metres!r}; it gives every metre a share, as {{4/4: 0.85, 3/4: 0.15}}")
    bars: dict[int, str] = {}
    for name, share in metres.items():
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share < 1e6:
            raise ValueError(f"metres gives {name} {share!r}, not a share above 0")
        bar = Metre.parse(str(name)).bar
        if bar in bars:
            raise ValueError(f"bars of {name} are as long as those of {bars[bar]}, and loops tell no more; name one")
        bars[bar] = str(name)


def names() -> list[str]:
    """The configurations that come with rtgen."""
    return sorted(p.name.removesuffix(".yaml") for p in (files("train") / "configs").iterdir() if ".yaml" in p.name)


def read(name: str | Path) -> Config:
    """The configuration in a YAML file, or the one that comes with rtgen under that name.

    Raises:
        UserError: there is none, or it does not fit.
    """
    own = files("train") / "configs" / f"{name}.yaml"
    path = Path(str(own)) if own.is_file() else Path(name)
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise UserError(f"{path} is larger than {_MAX_BYTES >> 10} KB; a configuration is a few lines of YAML")
        return Config.of(yaml.safe_load(path.read_text("utf-8")))
    except OSError:
        raise UserError(f"there is no configuration {name}; name a .yaml file or one of {', '.join(names())}") from None
    except (TypeError, ValueError, yaml.YAMLError, RecursionError) as error:
        first = str(error).splitlines()[0]
        raise UserError(f"{path} is not a configuration ({first}); compare it with those in train/configs") from None


def called(config: Config) -> str:
    """What names it to `fit`: the configuration of rtgen that it is, else a file that would say as much."""
    return next((name for name in names() if read(name) == config), f"{config.model}.yaml")


def parse_time(text: str) -> float:
    """Seconds that "90s", "40m" or "1h" stand for.

    Raises:
        UserError: it is none of these.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh])", text.strip())
    if not found:
        raise UserError(f"{text!r} is no span of time; write one like 90s, 40m or 1h")
    return float(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2]]
