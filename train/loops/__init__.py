"""Loops in memory: loading, augmentation, damage, and conversion to arrays."""
