"""The workshop: music in, `.onnx` out. Nothing in `rtgen` imports from here.

The way of a note: `sources` (a file becomes a `Piece`), `cut` and `prepare` (pieces become loops on disk), `dataset`
(loops in memory), `augment` and `corrupt` (loops are varied, and damaged), `models` (a task and its losses) and `fit`
(losses become weights), `export` (weights become an `.onnx` with a card), `evaluate` and `report` (what it is worth, as
rtgen plays it).
"""
