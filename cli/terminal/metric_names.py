"""The metrics of training in plain words, with their units; `metrics.jsonl` has their short names."""

from __future__ import annotations

from collections.abc import Callable


def _number(value: float) -> str:
    return f"{value:.4g}"


def _share(value: float) -> str:
    return f"{value:.0%}"


_WORDS: dict[str, tuple[str, Callable[[float], str]]] = {
    "signed": ("signed error", _number),
    "mean": ("error of means", _number),
    "mel": ("mel distance", _number),
    "magnitude": ("magnitude distance", _number),
    "complex": ("complex distance", _number),
    "intelligibility": ("intelligibility loss", _number),
    "loudness": ("loudness loss", _number),
    "similarity": ("similarity loss", _number),
    "nll": ("negative log-likelihood", lambda value: f"{value:.4g} nat per sample"),
    "bits": ("ideal code length", lambda value: f"{value:.4g} bit per sample"),
    "gaussian": ("of a Gaussian", lambda value: f"{value:.4g} nat per sample"),
    "local_gaussian": ("of a Gaussian as wide at each sample", lambda value: f"{value:.4g} nat per sample"),
    "commitment": ("commitment loss", _number),
    "codebook": ("codebook loss", _number),
    "divergence": ("KL divergence", lambda value: f"{value:.4g} nat"),
    "sparse": ("sparsity loss", lambda value: f"{value:.4g} nat"),
    "contractive": ("contractive loss", _number),
    "adversarial": ("adversarial loss", _number),
    "feature": ("feature loss", _number),
    "loss": ("total loss", _number),
    "gradient_norm": ("gradient norm", _number),
    "skipped": ("skipped", lambda value: f"{value:.0f} steps"),
    "discriminator": ("discriminator loss", _number),
    "discriminator_accuracy": ("discriminator accuracy", _share),
    "discriminator_norm": ("discriminator gradient norm", _number),
    "audio_s_per_s": ("speed", lambda value: f"{value:.3g} s of audio per s"),
    "data_share": ("waiting for data", _share),
    "learning_rate": ("learning rate", _number),
    "si_sdr": ("SI-SDR", lambda value: f"{value:.4g} dB"),
    "perplexity_min": ("lowest perplexity", _number),
}


def in_words(name: str, value: float) -> tuple[str, str]:
    """A metric's name and value as they are shown: "mel@2", 1.25 -> "mel distance with 2 stages", "1.25"."""
    metric, at, stages = name.partition("@")
    words, text = _WORDS.get(metric, (metric.replace("_", " "), _number))
    if at:
        words += " without codes" if stages == "0" else f" with {stages} stage{'s' * (stages != '1')}"
    return words, text(value)
