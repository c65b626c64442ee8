"""From files to pieces: one reader per format."""
