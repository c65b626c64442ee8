"""Loops in memory: read, augmented, damaged, and made into arrays."""
