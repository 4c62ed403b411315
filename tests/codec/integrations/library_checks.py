"""The tests that transformers runs on its own models and feature extractors, as far as they concern this one.

They are part of its source, not of its package. Unpack the source distribution of the installed version (`pip download
--no-deps --no-binary :all: transformers==...`), install `parameterized`, and let TRANSFORMERS_SOURCE be its folder:
`test_transformers.py` then runs this file.
"""

from __future__ import annotations

import importlib
import os
import sys
import types
import unittest
from pathlib import Path
from typing import Any

import numpy as np

from vqcodec.integrations.transformers import VqCodecConfig, VqCodecFeatureExtractor, VqCodecModel

PACKAGE = "tests_of_transformers"
ABSENT: dict[str, dict[str, Any]] = {
    "exporters.test_export": {"ExportTesterMixin": type("ExportTesterMixin", (), {})},
    "generation.test_utils": {"GenerationTesterMixin": type("GenerationTesterMixin", (), {})},
    "utils.test_configuration_utils": {"config_common_kwargs": {"return_dict": False, "output_hidden_states": True}},
}
"""Modules that a source distribution leaves out, and what common tests import from them."""


def common(name: str) -> Any:
    """A module of the tests of transformers."""
    for place in ("", ".exporters", ".generation", ".utils"):
        package = sys.modules.setdefault(PACKAGE + place, types.ModuleType(PACKAGE + place))
        package.__path__ = [] if place else [str(Path(os.environ["TRANSFORMERS_SOURCE"]) / "tests")]
    for absent, values in ABSENT.items():
        module = sys.modules.setdefault(f"{PACKAGE}.{absent}", types.ModuleType(absent))
        vars(module).update(values)
    (Path(os.environ["TRANSFORMERS_SOURCE"]) / "tests" / "__init__.py").touch()  # another one that is left out
    return importlib.import_module(f"{PACKAGE}.{name}")


class ModelTester:
    """Makes the tiny model and the inputs that common tests use."""

    batch_size = 4
    is_training = False

    def prepare_config_and_inputs_for_common(self) -> tuple[VqCodecConfig, dict[str, Any]]:
        small = {"latent_dim": 8, "num_stages": 3, "codebook_size": 16, "encoder_width": 16, "encoder_blocks": 1}
        config = VqCodecConfig(codec_config={**small, "decoder_width": 16, "decoder_blocks": 1})
        return config, {"input_values": common("test_modeling_common").floats_tensor([4, 1, 3000], scale=0.5)}


class TestModel(common("test_modeling_common").ModelTesterMixin, unittest.TestCase):  # type: ignore[misc]
    all_model_classes = (VqCodecModel,)
    is_encoder_decoder = True
    test_resize_embeddings = False

    def setUp(self) -> None:
        self.model_tester = ModelTester()

    def test_config(self) -> None:
        tester = common("test_configuration_common").ConfigTester
        tester(self, config_class=VqCodecConfig, common_properties=[], has_text_modality=False).run_common_tests()

    def _no_transformer(self) -> None:
        self.skipTest("the model has no attention, no embeddings and no hidden states to return; nor has EnCodec")

    test_attention_outputs = _no_transformer
    test_hidden_states_output = _no_transformer
    test_model_get_set_embeddings = _no_transformer
    test_retain_grad_hidden_states_attentions = _no_transformer


class FeatureTester:
    """Makes the waveforms that common tests use."""

    batch_size, min_seq_length, max_seq_length, seq_length_diff = 7, 400, 2000, 266
    feature_size, padding_value, sampling_rate = 1, 0.0, 16_000

    def prepare_feat_extract_dict(self) -> dict[str, Any]:
        return {"feature_size": 1, "padding_value": 0.0, "sampling_rate": 16_000}

    def prepare_inputs_for_common(self, equal_length: bool = False, numpify: bool = False) -> list[Any]:
        random = np.random.default_rng(0)
        lengths = [2000] * 7 if equal_length else range(400, 2000, 266)
        waveforms = [random.uniform(-1, 1, length).astype(np.float32) for length in lengths]
        return list(waveforms) if numpify else [waveform.tolist() for waveform in waveforms]


class TestFeatures(
    common("test_sequence_feature_extraction_common").SequenceFeatureExtractionTestMixin,  # type: ignore[misc]
    unittest.TestCase,
):
    feature_extraction_class = VqCodecFeatureExtractor

    def setUp(self) -> None:
        self.feat_extract_tester = FeatureTester()

    @property
    def feat_extract_dict(self) -> dict[str, Any]:
        return self.feat_extract_tester.prepare_feat_extract_dict()


if __name__ == "__main__":
    unittest.main()
