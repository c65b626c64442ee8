"""The panel: a web page for a running daemon. One more OSC client, in a process of its own."""

PORT = 7780
"""Of the page, unless told otherwise."""
