"""Processes that compute beside each other."""

import os

import pytest

from vqcodec.errors import VqcodecError
from vqcodec.recipes import parallel


def test_a_process_that_dies_ends_the_work_in_words() -> None:
    with pytest.raises(VqcodecError, match="a worker process died"), parallel.pool(1) as pool:
        pool.submit(os._exit, 1).result()
    assert parallel.usable_cpus() >= 1
