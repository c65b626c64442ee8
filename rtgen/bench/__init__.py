"""Measuring the instrument: a stop-watch made of real MIDI parts, what it is compared with, and the table."""
