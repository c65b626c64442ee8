"""The worker process that runs the model, and what it and the real-time process say to each other."""
