"""Ableton Live, by way of the remote script AbletonOSC: facts of the Set come in, clips go out, never notes in time."""

from dataclasses import dataclass

PORT, REPLY_PORT = 11_000, 11_001
"""Where the script listens, and the only port that it answers to."""


@dataclass(frozen=True, slots=True)
class LiveSaid:
    """What came of speaking with Live, in a sentence for the player."""

    line: str


@dataclass(frozen=True, slots=True)
class Wants:
    """What is wanted of Live.

    Args:
        port: the name of rtgen's output, as Live shows it: the track that has it as its input is the one that answers.
        inputs: the names of rtgen's inputs.
        track: the name of the track that answers, if it is another one.
        fires: whether a clip that was kept is launched at once, which Live does on the next bar.
        script_port: that the script listens on.
        reply_port: that it answers to.
        patience_s: how long to wait before a question is asked again, in seconds.
    """

    port: str = "rtgen out"
    inputs: tuple[str, ...] = ("rtgen in",)
    track: str | None = None
    fires: bool = False
    script_port: int = PORT
    reply_port: int = REPLY_PORT
    patience_s: float = 0.35
