"""Comparisons with other pipelines, more workers, eager torch and larger corpora."""
