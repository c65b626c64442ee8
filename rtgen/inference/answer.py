"""Answers: a loop, the knobs and a seed in, a loop out. Each mode is a function of the module that knows the role."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from rtgen.errors import UserError
from rtgen.inference import denoise, latent, sequence
from rtgen.inference.card import modes_of
from rtgen.inference.exchange import distance
from rtgen.inference.lengths import join, parts, refitted
from rtgen.inference.model import Model
from rtgen.instrument.job import Job, Mode
from rtgen.music.note import Loop

__all__ = ["answer", "answer_job", "distance", "modes_of"]


def answer_job(model: Model, job: Job) -> Loop:
    """The model's answer to a job; as `answer`."""
    return answer(model, job.loop, job.mode, job.knobs, job.seed, past=job.past, ends=job.ends)


def answer(
    model: Model,
    loop: Loop,
    mode: Mode,
    knobs: Mapping[str, float],
    seed: int,
    *,
    past: Sequence[Loop] = (),
    ends: tuple[Loop, Loop] | None = None,
) -> Loop:
    """The model's answer to a loop, of the same length. The same arguments give the same answer.

    A silent loop gets a silent answer, but for a blend. In the modes `clean` and `vary` notes outside the model's
    pitches come back as they were played.

    Args:
        model: what answers.
        loop: what was played.
        mode: what is wanted of it.
        knobs: the parameters of `controls.PARAMETERS` by name.
        seed: of all chance.
        past: what was played before, the oldest first; for `continue`.
        ends: the loops A and B; for `blend`. Without them it is the loop itself.

    Raises:
        UserError: the model does not play this mode, or makes no numbers.
    """
    card = model.card
    if mode not in modes_of(card):
        raise UserError(
            f"Model {card.name} (role {card.role}) plays {', '.join(modes_of(card))}, not {mode}; choose another preset"
        )
    rng = np.random.default_rng(seed)
    match mode:
        case "continue":
            return sequence.continued(model, past, loop, knobs, rng)
        case "blend":
            a, b = ends or (loop, loop)
            return _blended(model, refitted(a, loop), refitted(b, loop), knobs)
        case "vary" if not knobs["distance"]:
            return loop
        case "clean":
            answers = [denoise.clean(model, part) for part in parts(loop, card)]
        case "vary" if card.role == "denoiser":
            answers = [denoise.vary(model, part, knobs, rng) for part in parts(loop, card)]
        case "vary":
            answers = [latent.vary(model, part, knobs, rng) for part in parts(loop, card)]
        case "generate":
            answers = [latent.generate(model, part, knobs, rng) for part in parts(loop, card)]
    return join(answers, loop)


def _blended(model: Model, a: Loop, b: Loop, knobs: Mapping[str, float]) -> Loop:
    if knobs["blend"] in (0, 1):
        return b if knobs["blend"] else a
    pairs = zip(parts(a, model.card), parts(b, model.card), strict=True)
    return join([latent.blend(model, *pair, knobs) for pair in pairs], a.with_notes((*a.notes, *b.notes)))
