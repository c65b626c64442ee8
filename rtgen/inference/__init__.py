"""What a model is, and how it is run. Only the worker process and offline commands import from here."""
