"""What holds for all tests."""

import os

from hypothesis import settings

# One thread a process, before anything imports torch: several test processes run side by side, and sums have one order.
os.environ["OMP_NUM_THREADS"] = "1"

# How long an example takes depends on what else the machine does.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")
