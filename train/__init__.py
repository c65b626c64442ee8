"""The workshop: music in, `.onnx` out. Nothing in `rtgen` imports from here.

The way of a note: `sources` (a file becomes a `Piece`), `dataset` (pieces become loops on disk), `augment` (loops become
batches with damage to repair), `models` and `fit` (batches become weights), `export` (weights become an `.onnx` with a
card), `evaluate` (what the `.onnx` is worth beside doing nothing).
"""
