"""The workshop: music in, `.onnx` out. Nothing in `rtgen` imports from here.

The way of a note: `sources` (a file becomes a `Piece`), `dataset` (pieces become loops on disk), `augment` and `batch`
(loops become tasks, with damage to repair), `models` and `fit` (tasks become weights), `export` (weights become an
`.onnx` with a card), `evaluate` (what the `.onnx` is worth beside doing nothing).
"""
