"""vqcodec: a neural speech codec, a few hundred bytes a second and back.

    from vqcodec import Codec

    codec = Codec.load()
    encoded = codec.encode("in.wav")

The names below are loaded on first use, so that `import vqcodec` costs nothing and needs no torch.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .codec import Codec, Encoded, Rate
    from .errors import (
        AudioError,
        ConfigError,
        CorruptFile,
        ModelMismatch,
        NotVqcodecFile,
        UnsupportedVersion,
        VqcodecError,
    )

    __version__: str

__all__ = [
    "AudioError",
    "Codec",
    "ConfigError",
    "CorruptFile",
    "Encoded",
    "ModelMismatch",
    "NotVqcodecFile",
    "Rate",
    "UnsupportedVersion",
    "VqcodecError",
    "__version__",
]

_FROM_CODEC = ("Codec", "Encoded", "Rate")


def __getattr__(name: str) -> object:
    value: object
    if name == "__version__":
        from importlib.metadata import version

        value = version("vqcodec")
    elif name in _FROM_CODEC:
        from . import codec

        value = getattr(codec, name)
    elif name in __all__:
        from . import errors

        value = getattr(errors, name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value  # asked only once
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
