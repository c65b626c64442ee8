"""Evaluation measures, one module per model role, and what they share."""
