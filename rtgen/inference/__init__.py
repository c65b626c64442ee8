"""Model contract and inference. Only the worker process and offline commands import from here."""
