"""Transports: song position from a MIDI clock, an Ableton Link session or the internal clock."""
