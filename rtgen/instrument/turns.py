"""Turn arithmetic: whose turn a loop of the song is, and from which tick a changed answer can play."""

from __future__ import annotations

from typing import Literal

from rtgen.instrument.preset import Use

Turn = Literal["none", "yours", "answer"]
"""Whose turn it is: the player's, whose input is captured, or the answer's; `none` while the song does not roll."""


def is_call(use: Use, *, asked: bool, answered: bool) -> bool:
    """Return whether the input in a loop of the song is captured.

    In `answer`, every loop is but those in which an answer was asked for: whoever begins late is heard as well, and a
    silent call takes no turn.

    Args:
        use: when answers are heard.
        asked: whether an answer that begins with this loop was asked for.
        answered: whether there is an answer to go on with.
    """
    match use:
        case "follow" | "along":
            return True
        case "hold":
            return not answered
        case "answer":
            return not asked


def rounded_up(tick: int, unit: int) -> int:
    """The first multiple of `unit` from `tick` on."""
    return -(-tick // unit) * unit


def next_change(now: int, earliest: int, length: int, unit: int, use: Use, plays: int | None) -> tuple[int, int] | None:
    """From which tick the present answer can be another one, and at which tick its loop begins.

    Args:
        now: the current tick.
        earliest: the first tick at which a change can be ready.
        length: of a loop, in ticks.
        unit: changes fall on multiples of it, in ticks.
        use: when answers are heard.
        plays: the tick at which the loop that plays began; None if none does.

    Returns:
        None if there is nothing to change.
    """
    tick, start = rounded_up(earliest, unit), now // length * length
    if tick >= start + length:
        # A held answer changes in its next round; other answers end here, and the next one is new anyway.
        return (start + length, start + length) if use == "hold" else None
    return (tick, start) if start == plays else None
