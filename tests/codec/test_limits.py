"""What the smallest of hostile files may cost: docs/FORMAT.md promises less than 200 MB."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from vqcodec import Codec, bitstream

GOLDEN = Path(__file__).parents[1] / "golden"
MOST_MB = 200

PROGRAM = """
import json, resource, sys
from vqcodec import Codec, VqcodecError
codec = Codec.load(sys.argv[1], "cpu")
peaks = []
for path in sys.argv[2:]:
    try:
        codec.decode_file(path, "/dev/null", sample_rate="source", format="w64", force=True)
    except VqcodecError as error:
        print(error, file=sys.stderr)
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
print(json.dumps(peaks))
"""


def _write(path: Path, rate: int, channels: int, counts: list[int], *, coding: int = 0, payload: bytes = b"") -> Path:
    """A file of packets of so many frames each, and the same payload or zeros."""
    codec = Codec.load(GOLDEN / "context.safetensors", "cpu")
    sizes = {"channels": channels, "stages": 4 if coding else 1, "payload_coding": coding}
    samples = (sum(counts) * codec.hop_length - codec.config.delay) * rate // codec.sample_rate
    header = codec.header(samples, rate, **sizes)
    with open(path, "wb") as file:
        writer = bitstream.Writer(file, header)
        for count in counts:
            writer.write(bitstream.Packet(count, payload or bytes(header.payload_bytes(count))))
        writer.finish(samples)
    return path


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is measured as Linux counts it")
def test_memory_of_hostile_files(tmp_path: Path) -> None:
    codec = Codec.load(GOLDEN / "context.safetensors", "cpu")
    assert codec.context is not None
    mark = bytes.fromhex(codec.context.fingerprint)[:2]
    files = [
        GOLDEN / "mono.vq",  # what the model takes
        _write(tmp_path / "fast.vq", 768_000, 21, [100]),
        _write(tmp_path / "wide.vq", 65_000, 255, [50]),
        _write(tmp_path / "slow.vq", 1_000, 255, [50]),
        _write(tmp_path / "counts.vq", 16_000, 2, [40_000] * 3, coding=1, payload=b"\0\0"),
        _write(tmp_path / "context.vq", 16_000, 255, [1] * 63 + [500], coding=2, payload=mark + b"\1\1"),
    ]
    command = [sys.executable, "-c", PROGRAM, str(GOLDEN / "context.safetensors"), *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr.count("\n") == 2, done.stderr
    peaks = json.loads(done.stdout)
    assert max(peaks) - peaks[0] < MOST_MB, peaks
