"""The worker process that runs the model, and its protocol with the real-time process."""
