"""Readers that turn files into pieces, one per format."""
