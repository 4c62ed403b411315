"""What holds for all tests."""

import os

# One thread a process, before anything imports torch: several test processes run side by side, and sums have one order.
os.environ["OMP_NUM_THREADS"] = "1"
