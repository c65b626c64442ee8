"""The one exception that a player is meant to read, and the question that helps with a typo."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """Something that the person at the keyboard can put right.

    The message is one sentence that names the thing and the cure. The command line prints it alone and exits with
    status 2; every other exception is a defect of ours.
    """


def did_you_mean(given: object, known: Iterable[str]) -> str:
    """A question that names the known word nearest to `given`, or nothing."""
    near = get_close_matches(str(given), list(known), 1)
    return f"; did you mean '{near[0]}'?" if near else ""
