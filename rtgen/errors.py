"""The exception for errors that the player can fix, and suggestions for typos."""

from collections.abc import Iterable
from difflib import get_close_matches

from rtgen.text import plain

_LONGEST = 100
"""Characters of a word that are compared; its maker may be a stranger."""


class UserError(Exception):
    """An error that the player can fix.

    The message is one sentence that states the problem and the remedy. The command line prints it alone and exits with
    status 2; every other exception is a bug in rtgen.

    Args:
        message: the sentence; what a stranger's file put into it becomes plain text in one line.
    """

    def __init__(self, message: str) -> None:
        super().__init__(plain(message))


def did_you_mean(given: object, known: Iterable[str]) -> str:
    """Return "; did you mean ...?" with the known word closest to `given`, or an empty string."""
    near = get_close_matches(str(given)[:_LONGEST], list(known), 1)
    return f"; did you mean '{near[0]}'?" if near else ""
