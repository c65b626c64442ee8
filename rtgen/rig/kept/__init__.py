"""What is kept on disk: settings, clips, logs and session logs."""
