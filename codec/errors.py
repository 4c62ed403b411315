"""The exception tree. Imports nothing, so that every other module may import it.

A message says what was wrong, where (file, byte offset, key) and what to do about it, in one line:
the command line prints it as it is.
"""


class VqcodecError(Exception):
    """Base of every error that vqcodec raises for bad input."""


class NotVqcodecFile(VqcodecError):
    """The data does not begin like a `.vq` file."""


class UnsupportedVersion(VqcodecError):
    """The file needs a newer version of vqcodec."""


class CorruptFile(VqcodecError):
    """The data begins like a `.vq` file (or a checkpoint), but is damaged or cut short."""


class ModelMismatch(VqcodecError):
    """The file was encoded with other weights than those at hand, or no such model exists."""


class AudioError(VqcodecError):
    """A sound could not be read, written or used."""


class ConfigError(VqcodecError):
    """A setting is unknown, of the wrong kind or out of range."""
