"""Answers: maps a loop, knobs and a seed to a loop. Dispatches each mode to the module of the model's role."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from rtgen.errors import UserError
from rtgen.inference import composer, denoise, drums, latent, sequence
from rtgen.inference.card import modes_of
from rtgen.inference.cells import Knobs
from rtgen.inference.composer import Tell, untold
from rtgen.inference.frame import told_in_c
from rtgen.inference.hearing import recent
from rtgen.inference.infill import infill, start
from rtgen.inference.lengths import join, parts, refitted
from rtgen.inference.model import Model
from rtgen.inference.steer import steer, turned
from rtgen.instrument.job import Job, Mode
from rtgen.instrument.parameters import LATENTS
from rtgen.music import key
from rtgen.music.attributes import NAMES
from rtgen.music.note import Loop


def answer_job(model: Model, job: Job, tell: Tell = untold) -> Loop:
    """The model's answer to a job; see `answer`."""
    return answer(model, job.loop, job.mode, job.knobs, job.seed, past=job.past, ends=job.ends, tell=tell)


def answer(
    model: Model,
    loop: Loop,
    mode: Mode,
    knobs: Mapping[str, float],
    seed: int,
    *,
    past: Sequence[Loop] = (),
    ends: tuple[Loop, Loop] | None = None,
    tell: Tell = untold,
) -> Loop:
    """The model's answer to a loop, of the same length. Deterministic for equal arguments.

    The answer to silence is silence, except for a blend. In the modes `clean` and `vary`, notes outside the model's
    pitch range are returned as played.

    Args:
        model: the model.
        loop: the call.
        mode: the mode.
        knobs: parameters of `parameters.PARAMETERS` by name.
        seed: source of all randomness, together with the knob `seed`.
        past: what was played before, oldest first; for `continue`, and for all modes of a composer.
        ends: the loops A and B; for `blend`. The default is the loop itself.
        tell: told an answer that is written from its beginning to its end, part by part, but for the last one.

    Raises:
        UserError: the model does not play this mode, or its output is not finite.
    """
    card = model.card
    if mode not in modes_of(card):
        plays = ", ".join(modes_of(card)) or "no mode"
        raise UserError(f"Model {card.name} (role {card.role}) plays {plays}, not {mode}; choose another preset")
    rng = np.random.default_rng((seed, round(knobs["seed"])) if knobs.get("seed") else seed)
    knobs = _locked(loop, mode, knobs, past, ends) if card.kind.pitched else drums.unpitched(knobs)
    match mode:
        case "vary" if _untouched(knobs):
            return loop
        case "blend":
            a, b = ends or (loop, loop)
            return _blended(model, past, refitted(a, loop), refitted(b, loop), knobs, rng, tell)
        case _ if card.kind.hears:
            return _composed(composer.Order(model, past, loop, knobs, rng, tell), mode)
        case "continue":
            return sequence.continued(model, past, loop, knobs, rng)
    believes = denoise.wished if card.kind.fills else latent.wished
    begin = start(loop, knobs.get("fill", 0.0))
    fills = mode == "vary" and begin < loop.length
    answers = []
    for part in parts(loop, card):
        if not fills:
            answered = _one(model, part, mode, knobs, rng)
        elif begin < part.length:
            answered = filled(model, part, max(begin, 0), part.length, knobs, rng)
        else:
            answered = part
        # A tapped rhythm says nothing of the beat's attributes: the knobs start from those of the beat.
        like = answered if mode == "generate" and not card.kind.pitched else part
        answers.append(steer(model, like, answered, knobs, believes))
        begin -= part.length
    return join(answers, loop)


def _composed(order: composer.Order, mode: Mode) -> Loop:
    """The answer of a composer."""
    if mode == "continue":
        return composer.continued(order)
    if mode == "generate":
        return composer.generated(order)
    loop, knobs = order.loop, order.knobs
    begin = start(loop, knobs.get("fill", 0.0))
    steered = bool(turned(knobs))
    fills = begin < loop.length
    last = replace(order, tell=untold) if steered else order
    varied = composer.varied(replace(order, tell=untold) if fills else last)
    if fills:
        varied = composer.filled(replace(last, loop=varied), max(begin, 0), loop.length)
    return steer(order.model, loop, varied, knobs, lambda *_: None) if steered else varied


def _one(model: Model, part: Loop, mode: Mode, knobs: Knobs, rng: np.random.Generator) -> Loop:
    """The answer to a loop that the model takes as a whole."""
    if mode != "vary" and not model.card.kind.pitched:
        return drums.feel(model, part, knobs) if mode == "clean" else drums.beat(model, part, knobs, rng)
    if mode == "generate":
        return latent.generate(model, part, knobs, rng)
    if mode == "clean":
        return told_in_c(model.card, part, knobs, lambda loop, _: denoise.clean(model, loop))
    vary = denoise.vary if model.card.kind.fills else latent.vary
    return told_in_c(model.card, part, knobs, lambda loop, turned: vary(model, loop, turned, rng))


def filled(
    model: Model,
    loop: Loop,
    begin: int,
    end: int,
    knobs: Knobs,
    rng: np.random.Generator,
    past: Sequence[Loop] = (),
) -> Loop:
    """A loop that the model takes as a whole, with notes of the model's own from one tick to another; as `infill`."""
    if model.card.kind.hears:
        return composer.filled(composer.Order(model, past, loop, knobs, rng), begin, end)
    imagines = denoise.imagined if model.card.kind.fills else latent.imagined
    return told_in_c(
        model.card, loop, knobs, lambda part, turned: infill(model, part, begin, end, turned, rng, imagines)
    )


def _locked(loop: Loop, mode: Mode, knobs: Knobs, past: Sequence[Loop], ends: tuple[Loop, Loop] | None) -> Knobs:
    """Scales `key_lock` by the confidence that there is a key, unless the key is set."""
    if not knobs.get("key_lock") or knobs.get("key"):
        return knobs
    heard = (*recent(past), loop) if mode == "continue" else (loop,)
    if mode == "blend" and ends:
        heard = (ends[1] if knobs["blend"] >= 0.5 else ends[0],)
    sure = key.confidence(note for each in heard for note in each.notes)
    return {**knobs, "key_lock": knobs["key_lock"] * sure}


def _untouched(knobs: Knobs) -> bool:
    """Whether all knobs leave a variation identical to the call."""
    middle = (*NAMES, *LATENTS)
    return not knobs["distance"] and not knobs.get("fill") and all(knobs.get(name, 0.5) == 0.5 for name in middle)


def _blended(
    model: Model,
    past: Sequence[Loop],
    a: Loop,
    b: Loop,
    knobs: Mapping[str, float],
    rng: np.random.Generator,
    tell: Tell,
) -> Loop:
    if knobs["blend"] in (0, 1):
        return b if knobs["blend"] else a
    if model.card.kind.hears:
        return composer.blended(composer.Order(model, past, a, knobs, rng, tell), a, b)
    pairs = zip(parts(a, model.card), parts(b, model.card), strict=True)
    return join([latent.blend(model, *pair, knobs) for pair in pairs], a.with_notes((*a.notes, *b.notes)))
