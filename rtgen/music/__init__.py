"""Music as pure values, independent of ports, clocks and models.

`roll` needs numpy, so it is never imported from here: the real-time process uses only `time` and `note`.
"""
