"""The loops of a split, mixed from the sets and metres that a configuration names."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from rtgen.music.time import Metre
from train.config import Config
from train.loops import dataset
from train.loops.augment import Augmentation
from train.models import kind
from train.models.base import Source


def source(data: Path | str, split: str, config: Config) -> Source:
    """Loads the two-bar loops of a split; those of `train` are augmented and in several metres, as configured.

    Raises:
        UserError: there are no loops in the first metre.
    """
    mix = shares(config, dataset.sets_of(data))
    whole = sum(config.metres.values())
    some = {name: share / whole for name, share in config.metres.items()}
    main, *others = some

    def loops(metre: str) -> dataset.Loops:
        bar, repeats = Metre.parse(metre).bar, kind(config.model).repeats
        sets = list(mix) if mix else None
        found = dataset.load(data, split, sets, length=dataset.BARS * bar, bar=bar, duplicates=repeats)
        most = max(round(config.loops * some[metre]), 1)
        if split == "train" and config.loops and most < len(found):
            found = found.pick(np.linspace(0, len(found) - 1, most).astype(np.int64))
        return found

    if split != "train":
        return Source(loops(main), mix)
    varied = Augmentation(**config.augmentation)
    further: list[tuple[Source, float]] = []
    for metre in others:
        with suppress(dataset.NoLoopsError):
            further.append((Source(loops(metre), mix, varied), some[metre]))
    return Source(loops(main), mix, varied, further)


def shares(config: Config, there: Sequence[str]) -> dict[str, float] | None:
    """Share of each set in a batch; None if all loops have equal weight.

    Configured sets that exist keep their shares; the player's own sets, which no configuration names, together get as
    much as these.

    Args:
        config: the configuration.
        there: names of the sets in the dataset.
    """
    if config.sets is None:
        return None
    named = {name: share for name, share in config.sets.items() if name in there}
    own = [name for name in there if name not in {*dataset.SETS, *config.sets}] if config.own else []
    half = (sum(named.values()) or 1.0) / max(len(own), 1)
    return named | dict.fromkeys(own, half) or {**config.sets}
