"""The training configuration: one TOML file is one complete run."""

from __future__ import annotations

import dataclasses
import difflib
import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vqcodec.errors import ConfigError
from vqcodec.models.config import ModelConfig
from vqcodec.models.kinds import KINDS

CONFIGS = Path(__file__).parent / "configs"

OF_BOTTLENECK = {"bottleneck": "kind", "lattice_levels": "levels", "coarse_stages": "coarse_stages"}
"""Settings of a model that stand in a recipe's section [bottleneck], and their names there."""

FORMER_NAMES = {("quantizer", "dead_share"): "usage_threshold"}
"""Settings that have been renamed, by section and former name. Recipes and checkpoints may still have the latter."""

if TYPE_CHECKING:
    KindName = str
else:
    KindName = Literal[tuple(KINDS)]

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]
AtLeastOne = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataConfig(_Section):
    """What a batch is made of."""

    batch_size: AtLeastOne = 16
    crop_s: Positive = 1.0
    """Seconds of audio in a crop that losses are taken over; the codec's delay comes on top."""
    gain_db: tuple[float, float] = (-6.0, 18.0)
    """Range of the random gain of a crop; what would clip gets only as loud as it can be. A codec is at its best at the
    levels that it was trained at, and corpora are often quieter than what users have."""
    workers: Count = 1
    """Processes that read crops; 0 reads in the training process."""
    buffer_mb: Positive = 64.0
    """Megabytes of crops out of shards that wait for their turn, in all processes together: more mixes better."""
    validation_s: NotNegative = 300.0
    """Seconds of audio, in whole files, for validation: of official dev parts, or of speakers held out whole."""
    weights: dict[str, NotNegative] = {}
    """How often a corpus is drawn from, by its name, relative to its share of the audio; 1 where it is not named.
    With 0 it is left out. The names are shown when a run starts."""


class AugmentConfig(_Section):
    """What is done to crops beside the random gain; each effect to this share of them."""

    band_limit: Share = 0.0
    """Low-pass filtering, as a telephone or an old recording has it."""
    reverb: Share = 0.0
    noise: Share = 0.0
    """Background noise, out of the folders given as --noise, or pink where there are none."""
    snr_db: tuple[float, float] = (5.0, 30.0)
    """Range of the signal-to-noise ratio."""
    lossy: Share = 0.0
    """Artefacts of MP3 or Opus at low bitrates."""
    denoise: bool = False
    """Whether the target is the crop before noise, reverberation, band limit and artefacts: a speech enhancer, and with
    noise = 1 the denoising autoencoder of Vincent et al. 2008, with any bottleneck."""


class OptimizerConfig(_Section):
    """AdamW, with Muon for the matrices of the pointwise layers if asked for."""

    kind: Literal["adamw", "muon"] = "adamw"
    learning_rate: Positive = 1e-3
    accumulate: AtLeastOne = 1
    """Parts that a batch is worked through in, one after the other: less memory, the same step."""
    final_share: Share = 0.05
    """Of the learning rate, at the end of the cosine."""
    warmup_steps: Count = 200
    betas: tuple[Share, Share] = (0.8, 0.99)
    weight_decay: NotNegative = 0.01
    gradient_clip: Positive = 1.0
    """Largest norm of the gradient of all parameters."""
    outlier_factor: Positive = 10.0
    """A step is skipped whose gradient norm is this many times the usual one, or not finite."""
    outlier_patience: AtLeastOne = 50
    """Steps skipped in a row after which the run stops."""
    weight_ema: Share = 0.999
    """Decay of the moving average of the weights, which is what is validated and exported."""


class LossConfig(_Section):
    """Weights of the losses.

    Training begins on the signed MDCT error alone ("signs first") and hands over to the spectral losses: from
    `handover_start` on, for `handover_steps` steps, weights move linearly to their final values.
    """

    signed: NotNegative = 0.7
    """Relative squared error of compressed, signed MDCT coefficients, before the hand-over."""
    signed_final: NotNegative = 0.15
    """The same, after the hand-over."""
    signed_focus: NotNegative = 3.0
    """How much strong coefficients count more than weak ones in it: an exponent of their magnitude."""
    mel: NotNegative = 3.0
    magnitude: NotNegative = 1.0
    """Of log magnitudes bin by bin: the mel loss alone lets a few coefficients stand for a whole band."""
    complex: NotNegative = 0.5
    draws: AtLeastOne = 2
    """Waveforms that a stochastic decoder (model.decoder_stochastic) draws for each item. Its spectral losses are
    energy scores: those of the draws, less half of what they are from one another. The others are means over them."""
    intelligibility: NotNegative = 0.0
    """1 - correlation of short-time envelopes in third-octave bands, after STOI."""
    loudness: NotNegative = 0.0
    """Disturbance of the loudness in Bark bands, after PESQ."""
    similarity: NotNegative = 0.0
    """1 - similarity of auditory spectrograms, after ViSQOL."""
    commitment: NotNegative = 0.25
    """Squared distance of the latents from their codes, which draws the encoder: beta of the VQ-VAE."""
    codebook: NotNegative = 1.0
    """The same distance, which draws the codes; only where they learn by gradient (quantizer.learning)."""
    divergence: NotNegative = 0.03
    """KL divergence of a "vae" from the standard normal, nats per latent value. With this weight the recipe "tiny"
    comes to about 1.5 of them in 400 steps, where its 8 stages of 256 codes are 1.4; with a third of it to 2.2."""
    sparse: NotNegative = 0.0
    """KL divergence of the latents' mean activation (their sigmoid) from `sparse_rho`, in nats per dimension."""
    sparse_rho: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """The mean activation that is wanted."""
    contractive: NotNegative = 0.0
    """Squared norm of the encoder's Jacobian, d latents / d waveform, per latent value: in the order of 1e5 where it is
    not held down, as quiet samples count as much as loud ones, so that weights begin at 1e-7."""
    handover_start: Count = 1000
    handover_steps: Count = 1000


class PhaseConfig(_Section):
    """What takes part in training, from which step on; None for never. Before either: reconstruction alone."""

    adversarial_from: Count | None = None
    """From here on discriminators learn, and teach the codec."""
    decoder_only_from: Count | None = None
    """From here on encoder and codebooks stay as they are (their averaged weights): files keep decoding."""


class DiscriminatorConfig(_Section):
    """The networks that tell the codec's output from the input, and what they add to the losses."""

    periods: tuple[AtLeastOne, ...] = (2, 5, 11)
    """Of the multi-period discriminators, in samples; none of them if empty."""
    windows: tuple[Annotated[int, Field(ge=16)], ...] = (256, 512, 1024, 2048)
    """Of the multi-resolution STFT discriminators, in samples; none of them if empty."""
    period_channels: AtLeastOne = 8
    """Width of a multi-period discriminator's first layer."""
    stft_channels: AtLeastOne = 48
    """Width of an STFT discriminator's layers."""
    loss: Literal["hinge", "least_squares"] = "least_squares"
    """Least squares keeps the logits, and so the size of the gradients, within bounds."""
    learning_rate: Positive = 5e-4
    betas: tuple[Share, Share] = (0.8, 0.99)
    gradient_clip: Positive = 10.0
    """Largest norm of the gradient of all discriminators."""
    alone_steps: Count = 500
    """Steps at the start of the phase in which the discriminators learn alone; cold ones would wreck the codec."""
    ramp_steps: Count = 1000
    """Steps after those in which their weight in the codec's loss rises from 0."""
    every: AtLeastOne = 2
    """Steps between two of the discriminators' own updates."""
    adversarial: NotNegative = 0.2
    """Weight of the adversarial loss in the codec's."""
    feature: NotNegative = 0.3
    """Weight of the feature-matching loss."""


class BottleneckConfig(_Section):
    """What stands between encoder and decoder; its other sizes, such as num_stages, are those of the model."""

    kind: KindName = "rvq"
    levels: AtLeastOne = 4
    """Values that each latent of a "lattice" is rounded to."""
    coarse_stages: AtLeastOne = 4
    """Stages of a "hierarchical" one at half the rate of the latents; the others are those of two latent frames."""


class QuantizerConfig(_Section):
    """How the codebooks learn."""

    learning: Literal["ema", "gradient"] = "ema"
    """By moving averages of the latents given to each code, or by the gradient of the codebook loss: the latter with
    loss.codebook = 1 and loss.commitment = beta is the loss of the VQ-VAE, van den Oord et al. 2017."""
    start_step: Count = 1000
    """The step before which noise takes the place of the quantizer; then k-means sets the codebooks."""
    kmeans_batches: AtLeastOne = 16
    ema_decay: Share = 0.99
    usage_threshold: Share = 0.1
    """A code used less than this fraction of the mean is replaced by a live latent. Formerly `dead_share`."""
    full_share: Share = 0.25
    """Share of a batch that uses all stages; the others use a random number of them."""


class RunConfig(_Section):
    """Length, precision and housekeeping."""

    steps: AtLeastOne = 20_000
    seed: int = 0
    precision: Literal["bf16", "fp32"] = "bf16"
    log_every: AtLeastOne = 20
    """Steps between lines of the metrics file."""
    validate_every: AtLeastOne = 1000
    best_by: str = "mel"
    """The validation score by which the best checkpoint is kept: as logged, or what stands before its "@"."""
    compile: bool = False
    """Whether `torch.compile` fuses the model: slow to start, faster after that on GPUs."""
    tensorboard: bool = True
    """Whether event files for TensorBoard are written, where it is installed."""
    checkpoint_minutes: Positive = 5.0


class Recipe(_Section):
    """One complete run."""

    model: ModelConfig = ModelConfig()
    """[model] and [bottleneck] of the file together."""
    bottleneck: BottleneckConfig = BottleneckConfig()
    data: DataConfig = DataConfig()
    augment: AugmentConfig = AugmentConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    loss: LossConfig = LossConfig()
    quantizer: QuantizerConfig = QuantizerConfig()
    phases: PhaseConfig = PhaseConfig()
    discriminator: DiscriminatorConfig = DiscriminatorConfig()
    run: RunConfig = RunConfig()

    def to_dict(self) -> dict[str, Any]:
        """Everything by section and name, as JSON has it."""
        values = json.loads(self.model_dump_json(exclude={"model"}))
        model = {key: value for key, value in dataclasses.asdict(self.model).items() if key not in OF_BOTTLENECK}
        return {"model": model, **values}

    def to_json(self) -> str:
        """The same as readable JSON."""
        return json.dumps(self.to_dict(), indent=2)


def names() -> list[str]:
    """The recipes that ship."""
    return sorted(path.stem for path in CONFIGS.glob("*.toml"))


def load(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe that ships, by name, or a TOML file, and change single settings.

    Args:
        name_or_path: "speech_16k", "speech_16k.toml" or a path.
        overrides: "section.key=value", the value as TOML has it (bare words count as strings).

    Raises:
        ConfigError: there is no such recipe, it is no TOML, or a setting is unknown or out of range.
    """
    path = _find(name_or_path)
    try:
        values = _renamed(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: not a readable TOML file: {error}") from None
    for override in overrides:
        _override(values, override)
    return from_dict(values)


def change(recipe: Recipe, overrides: Sequence[str]) -> Recipe:
    """The recipe with single settings changed, as for `load`.

    Raises:
        ConfigError: a setting is unknown or out of range.
    """
    values = recipe.to_dict()
    for override in overrides:
        _override(values, override)
    return from_dict(values)


def differences(before: Recipe, after: Recipe) -> list[str]:
    """The settings that differ, as "section.key 1 -> 2"."""
    old, new = before.to_dict(), after.to_dict()
    pairs = [(section, key, old[section][key], new[section][key]) for section in old for key in old[section]]
    return [f"{section}.{key} {was} -> {now}" for section, key, was, now in pairs if was != now]


def sizes_that_differ(first: ModelConfig, second: ModelConfig) -> list[str]:
    """The settings of two models that differ, beside their names, as "latent_dim 32 -> 64"."""
    old, new = dataclasses.asdict(first), dataclasses.asdict(second)
    return [f"{key} {old[key]} -> {new[key]}" for key in old if old[key] != new[key] and key != "name"]


def from_dict(values: Mapping[str, Any]) -> Recipe:
    """The inverse of `Recipe.to_dict`; what is left out has its default.

    Raises:
        ConfigError: a setting is unknown or out of range.
    """
    rest = _renamed(values)
    model = rest.pop("model", {})
    if not isinstance(model, Mapping):
        raise ConfigError(f"model must be a section, not {model!r}")
    if misplaced := OF_BOTTLENECK.keys() & model.keys():
        name = min(misplaced)
        raise ConfigError(f"model.{name} is no setting of a recipe; set bottleneck.{OF_BOTTLENECK[name]}")
    try:
        recipe = Recipe.model_validate(rest)
    except ValidationError as error:
        raise ConfigError(_explain(error)) from None
    bottleneck = {name: getattr(recipe.bottleneck, key) for name, key in OF_BOTTLENECK.items()}
    return recipe.model_copy(update={"model": ModelConfig.from_dict({**model, **bottleneck})})


def _find(name_or_path: str | Path) -> Path:
    path = Path(name_or_path)
    if path.is_file():
        return path
    shipped = CONFIGS / f"{path.name.removesuffix('.toml')}.toml"
    if path.name == str(name_or_path) and shipped.is_file():
        return shipped
    raise ConfigError(f"{name_or_path}: no such recipe; the ones that ship are {', '.join(names())}")


def _renamed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Put settings that have `FORMER_NAMES` under those they have now."""
    renamed = dict(values)
    for (section, former), name in FORMER_NAMES.items():
        table = renamed.get(section)
        if isinstance(table, Mapping) and former in table:
            if name in table:
                raise ConfigError(f"{section}.{former} is the former name of {section}.{name}: set only the latter")
            renamed[section] = {name if key == former else key: value for key, value in table.items()}
    return renamed


def _override(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    section, dot, name = key.strip().partition(".")
    if not equals or not dot:
        raise ConfigError(f"{override!r} is not of the form section.key=value")
    table = values.setdefault(section, {})
    if not isinstance(table, dict):
        raise ConfigError(f"{section} is not a section")
    table[FORMER_NAMES.get((section, name), name)] = _parse(text.strip())


def _parse(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _explain(error: ValidationError) -> str:
    """The first fault of a recipe, in one line, with the nearest known name for an unknown one."""
    fault = error.errors()[0]
    where = ".".join(str(part) for part in fault["loc"])
    if fault["type"] != "extra_forbidden":
        return f"{where} = {fault['input']!r}: {fault['msg'][0].lower()}{fault['msg'][1:]}"
    fields = Recipe.model_fields
    known = list(
        getattr(fields[str(fault["loc"][0])].annotation, "model_fields", ()) if len(fault["loc"]) > 1 else fields
    )
    near = difflib.get_close_matches(str(fault["loc"][-1]), known, n=1, cutoff=0.0)[0]
    return f"{where} is no known setting; did you mean {'.'.join([*map(str, fault['loc'][:-1]), near])}?"
