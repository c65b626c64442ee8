"""Text without control characters, for terminals and logs."""

from __future__ import annotations

import re

COMMANDS = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 and C1 without tab and line feed
    r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # change the order in which text is shown
    r"\u2028\u2029\ud800-\udfff]"  # separators; surrogates, which cannot be encoded
)
"""Characters that a terminal obeys instead of showing them."""
_BREAKS = re.compile(r"[\t\n]+")


def plain(text: str) -> str:
    """Returns text as one line without control characters, which become question marks.

    Names, descriptions and metadata may come from strangers, and a terminal obeys what it is sent: it can be made to
    change its title, to hide lines, or to write to the clipboard.
    """
    return _BREAKS.sub(" ", COMMANDS.sub("?", text))
