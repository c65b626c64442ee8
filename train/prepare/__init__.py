"""Prepares a dataset of loops from music files."""
