"""Comparisons: with other pipelines, more workers, larger corpora."""
