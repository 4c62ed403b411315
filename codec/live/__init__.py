"""Speech over networks that lose packets: packets, loss, delay, silence. docs/LIVE.md has the format on the wire.

What needs no networks of a model (packets, jitter buffer, statistics, the simulated channel) needs no torch either.
Nothing here reads a clock or touches a socket but what is in `calls`: all else is told the time.
"""
