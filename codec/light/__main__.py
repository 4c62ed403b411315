"""`python -m vqcodec.light`: encode and decode files without torch."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from ..errors import VqcodecError
from ..rates.plan import Rate
from .codec import Codec


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code, 1 after an error, which stands on standard error."""
    parser = argparse.ArgumentParser(prog="python -m vqcodec.light", description=__doc__)
    parser.add_argument("--model", required=True, help="folder that `vqcodec export --onnx` wrote")
    parser.add_argument("--threads", type=int, default=1, help="threads to compute on")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, what in (("encode", "a sound file to a .vq file"), ("decode", "a .vq file to a sound file")):
        command = commands.add_parser(name, help=what)
        command.add_argument("source")
        command.add_argument("target")
        command.add_argument("--force", action="store_true", help="overwrite the target")
        if name == "encode":
            command.add_argument("--bitrate", type=float, help="kbit/s of the whole file, 3 by default")
    options = parser.parse_args(arguments)
    try:
        codec = Codec.load(options.model, options.threads)
        if options.command == "encode":
            bps = None if options.bitrate is None else 1000 * options.bitrate
            result = codec.encode_file(options.source, options.target, rate=Rate(bps), force=options.force)
        else:
            result = codec.decode_file(options.source, options.target, force=options.force)
    except VqcodecError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{options.source} -> {options.target}: {result.duration_s:.2f} s, {result.bytes_out} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
