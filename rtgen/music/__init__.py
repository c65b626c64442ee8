"""What music is: pure values. Nothing here knows a port, a clock or a model.

`roll` needs numpy and is therefore never imported from here: the real-time process uses only `time`, `note`.
"""
