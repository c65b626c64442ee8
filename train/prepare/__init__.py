"""From files of music to a dataset of loops."""
