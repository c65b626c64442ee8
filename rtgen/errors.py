"""The one exception that a player is meant to read."""


class UserError(Exception):
    """Something that the person at the keyboard can put right.

    The message is one sentence that names the thing and the cure. The command line prints it alone and exits with
    status 2; every other exception is a defect of ours.
    """
