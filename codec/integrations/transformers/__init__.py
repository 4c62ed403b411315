"""vqcodec models as models of the package transformers, with the names and shapes of EnCodec, DAC and Mimi there.

To import it registers them with `AutoConfig`, `AutoModel` and `AutoFeatureExtractor`.
"""

try:
    import transformers
except ImportError as error:
    raise ImportError("this needs the package transformers: pip install 'vqcodec[transformers]'") from error

from .configuration import VqCodecConfig
from .feature_extraction import VqCodecFeatureExtractor
from .folder import write_folder
from .modeling import VqCodecEncoderOutput, VqCodecModel, VqCodecOutput

__all__ = [
    "VqCodecConfig",
    "VqCodecEncoderOutput",
    "VqCodecFeatureExtractor",
    "VqCodecModel",
    "VqCodecOutput",
    "write_folder",
]

transformers.AutoConfig.register(VqCodecConfig.model_type, VqCodecConfig, exist_ok=True)
transformers.AutoModel.register(VqCodecConfig, VqCodecModel, exist_ok=True)
transformers.AutoFeatureExtractor.register(VqCodecConfig, VqCodecFeatureExtractor, exist_ok=True)
