"""Training: music files in, `.onnx` models out. Nothing in `rtgen` imports this package.

Pipeline: `sources` (files to pieces), `cut` and `prepare` (pieces to loops on disk), `dataset` (loops in memory),
`augment` and `corrupt` (augmentation, damage), `models` (tasks and losses), `fit` (training), `export` (`.onnx` with a
card), `evaluate` and `report` (evaluation of the model as rtgen plays it).
"""
