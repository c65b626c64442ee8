"""What outlives a session on disk: settings, presets, clips, session logs."""
