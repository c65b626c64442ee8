"""Preparation and training on a Ray cluster."""
