"""Interfaces to the player: terminal, OSC, web page."""
