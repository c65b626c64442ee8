"""rtgen: plays an answer to what you play, in tempo."""

__version__ = "0.2.0"
