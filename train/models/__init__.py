"""Model architectures, one per file, looked up by name in `NAMES`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from inspect import signature
from typing import Any

from rtgen.errors import UserError, did_you_mean
from train.models.base import Architecture

NAMES: Mapping[str, str] = {
    "loop_denoiser": "LoopDenoiser",
    "loop_vae": "LoopVae",
    "composer": "Composer",
    "drummer": "Drummer",
    "harmoniser": "Harmoniser",
    "conv_dae": "ConvDae",
    "mlp_vae": "MlpVae",
    "conv_vae": "ConvVae",
    "dcgan": "Dcgan",
    "nemui": "Nemui",
    "note_lstm": "NoteLstm",
    "music_vae": "MusicVae",
}
"""Class name of each architecture; the class is in the file of the architecture's name."""
SEVEN = ("conv_dae", "mlp_vae", "conv_vae", "dcgan", "nemui", "note_lstm", "music_vae")
"""The systems that the project started from."""
FAMILY = "the seven"
"""What their models are listed under."""


def kind(name: str) -> type[Architecture]:
    """Return the architecture class of a name.

    Raises:
        UserError: no such architecture.
    """
    if name not in NAMES:
        raise UserError(f"no architecture {name!r}{did_you_mean(name, NAMES)}; known are {', '.join(NAMES)}")
    found: type[Architecture] = getattr(import_module(f"train.models.{name}"), NAMES[name])
    return found


def build(name: str, settings: Mapping[str, Any]) -> Architecture:
    """Build an architecture from its settings.

    Raises:
        UserError: no such architecture or setting, or the values do not work.
    """
    found = kind(name)
    known = list(signature(found).parameters)
    for setting in settings:
        if setting not in known:
            hint = did_you_mean(setting, known)
            raise UserError(f"architecture {name} has no setting {setting!r}{hint}; it has {', '.join(known)}")
    try:
        return found(**settings)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"architecture {name} cannot be built: {error}; check its settings") from error
