"""The panel: a web page for a running daemon, served by a separate process that is an OSC client."""

PORT = 7780
"""Default port of the page."""
