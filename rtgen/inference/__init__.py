"""Model contract and inference. Only the worker process and offline commands import from here."""

import os

# onnxruntime (from 1.29 on) would keep a device's id and a database of events in the user's cache, with names and
# checksums of the models, and send them to its maker. It reads this when it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
