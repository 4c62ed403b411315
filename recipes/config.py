"""The settings of a training run, by section: names, ranges, defaults and meanings. `loading` reads them from files."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from vqcodec.models.config import ModelConfig
from vqcodec.models.kinds import KINDS

OF_BOTTLENECK = {"bottleneck": "kind", "lattice_levels": "levels", "coarse_stages": "coarse_stages"}
"""Settings of a model that stand in a recipe's section [bottleneck], and their names there."""

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
    """The contents of a batch."""

    batch_size: AtLeastOne = 16
    """Crops in a batch, over all processes together."""
    crop_s: Positive = 1.0
    """Seconds of audio in a crop that the losses see; the codec's delay comes on top."""
    gain_db: tuple[float, float] = (-6.0, 18.0)
    """Range of the random gain of a crop. A gain that would clip is lowered until it does not. A codec works best at
    the levels it was trained at, and corpora are often quieter than what users record."""
    workers: Count = 1
    """Processes that read crops; with 0 the training process reads them itself."""
    buffer_mb: Positive = 64.0
    """Megabytes of crops from shards that are held in memory for shuffling, in all processes together."""
    validation_s: NotNegative = 300.0
    """Seconds of audio for validation, in whole files: from official dev parts, or from speakers that are held out."""
    weights: dict[str, NotNegative] = {}
    """How often to draw from each corpus, by name, relative to its share of the audio; 1 for a corpus not named here,
    and 0 leaves a corpus out. A run shows the names when it starts."""


class AugmentConfig(_Section):
    """Effects on crops besides the random gain. Each effect is applied to the given share of them."""

    band_limit: Share = 0.0
    """Share of crops that are low-pass filtered, like a telephone call or an old recording."""
    reverb: Share = 0.0
    """Share of crops with the reverberation of a simulated room."""
    noise: Share = 0.0
    """Share of crops with background noise: from the folders given with --noise, or pink noise without any."""
    snr_db: tuple[float, float] = (5.0, 30.0)
    """Range of the signal-to-noise ratio of that noise."""
    lossy: Share = 0.0
    """Share of crops with artefacts of MP3 or Opus at low bitrates."""
    speed: Share = 0.0
    """Share of crops that are played 0.9 to 1.1 times as fast, pitch and all."""
    equalise: Share = 0.0
    """Share of crops that a random, smooth filter colours, as microphones do."""
    lost_frames: Share = 0.0
    """Share of crops of which bursts of frames do not reach the decoder (model.decoder_conceals)."""
    denoise: bool = False
    """Whether the target is the crop before noise, reverberation, band limit and artefacts: a speech enhancer, and with
    noise = 1 the denoising autoencoder of Vincent et al. 2008, with any bottleneck."""


class OptimizerConfig(_Section):
    """AdamW, with Muon for the matrices of the pointwise layers if asked for."""

    kind: Literal["adamw", "muon"] = "adamw"
    """The optimizer: AdamW for everything, or Muon for those matrices and AdamW for the rest."""
    learning_rate: Positive = 1e-3
    """Peak learning rate. After the warm-up it falls along a cosine until the last step."""
    accumulate: AtLeastOne = 1
    """Number of parts that a batch is split into and computed one after the other: less memory, the same step."""
    final_share: Share = 0.05
    """Share of the learning rate that is left at the end of the cosine."""
    warmup_steps: Count = 200
    """Steps in which the learning rate rises from 0."""
    betas: tuple[Share, Share] = (0.8, 0.99)
    """Decay of AdamW's moving averages of the gradient and of its square."""
    weight_decay: NotNegative = 0.01
    """Decoupled weight decay, relative to the learning rate."""
    gradient_clip: Positive = 1.0
    """Norm to which the gradient of all parameters is clipped."""
    outlier_factor: Positive = 10.0
    """A step is skipped if its gradient norm is more than this many times the usual norm, or not finite."""
    outlier_patience: AtLeastOne = 50
    """The run stops after this many skipped steps in a row."""
    weight_ema: Share = 0.999
    """Decay of the moving average of the weights. This average is what is validated and exported."""


class LossConfig(_Section):
    """Weights of the losses.

    A loss schedule leads from the signed MDCT error alone ("signs first") to the spectral losses: from
    `schedule_start` on, for `schedule_steps` steps, weights move linearly to their final values.

    A WaveNet decoder (model.decoder_kind) learns by its negative log-likelihood, in nats per sample and with the weight
    1; of the weights here only those of the latents then matter, from `commitment` to `contractive`.
    """

    signed: NotNegative = 0.7
    """Initial weight of the relative squared error of compressed, signed MDCT coefficients."""
    signed_final: NotNegative = 0.15
    """Weight of that error at the end of the loss schedule."""
    signed_focus: NotNegative = 3.0
    """How much more strong coefficients count than weak ones in that error: an exponent of their magnitude."""
    mean: NotNegative = 0.0
    """Weight of the relative squared error of the means of those compressed coefficients that have a spread
    (model.decoder_stochastic): it keeps the means from answering unknown signs with a habit."""
    mel: NotNegative = 3.0
    """Weight of the L1 distance of log-mel spectra, at six window lengths."""
    magnitude: NotNegative = 1.0
    """Weight of the L1 distance of log magnitudes bin by bin: the mel loss alone lets a few coefficients stand for a
    whole band."""
    complex: NotNegative = 0.5
    """Weight of the L1 distance of power-compressed complex spectra, which keeps the phase."""
    draws: AtLeastOne = 2
    """Waveforms that a stochastic decoder (model.decoder_stochastic) draws for each item. Its spectral losses are
    energy scores: the mean loss of the draws, minus half their mean distance from each other. The perceptual losses
    are those of one more draw, drawn as in decoding."""
    intelligibility: NotNegative = 0.0
    """Weight of 1 - correlation of short-time envelopes in third-octave bands, after STOI."""
    loudness: NotNegative = 0.0
    """Weight of the disturbance of loudness in Bark bands, after PESQ."""
    similarity: NotNegative = 0.0
    """Weight of 1 - similarity of auditory spectrograms, after ViSQOL."""
    commitment: NotNegative = 0.25
    """Weight of the squared distance of the latents from their codes, whose gradient moves the encoder: the beta of
    the VQ-VAE."""
    codebook: NotNegative = 1.0
    """Weight of the same distance where its gradient moves the codes (only with quantizer.learning = "gradient")."""
    divergence: NotNegative = 0.03
    """Weight of the KL divergence of a "vae" from the standard normal, in nats per latent value. With the default the
    recipe "tiny" reaches about 1.5 nats in 400 steps, where its 8 stages of 256 codes carry 1.4; with 0.01, 2.2."""
    sparse: NotNegative = 0.0
    """Weight of the KL divergence of the latents' mean activation (their sigmoid) from `sparse_rho`, in nats per
    dimension."""
    sparse_rho: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """The mean activation that the sparse loss aims for."""
    contractive: NotNegative = 0.0
    """Weight of the squared norm of the encoder's Jacobian, d latents / d waveform, per latent value. Unconstrained it
    is of the order of 1e5, since quiet samples count as much as loud ones: begin with weights near 1e-7."""
    schedule_start: Count = 1000
    """Step at which the loss schedule begins to move weights from the signed error to the spectral losses. Formerly
    `handover_start`."""
    schedule_steps: Count = 1000
    """Length of the loss schedule. Formerly `handover_steps`."""


class PhaseConfig(_Section):
    """From which step each later phase of training runs; never, by default. Before them: reconstruction alone."""

    adversarial_from: Count | None = None
    """Step from which discriminators are trained, and the codec against them."""
    decoder_only_from: Count | None = None
    """Step from which encoder and codebooks are frozen at their averaged weights, so that existing files still
    decode."""


class DiscriminatorConfig(_Section):
    """The networks that tell the codec's output from the input, and what they add to the losses."""

    periods: tuple[AtLeastOne, ...] = (2, 5, 11)
    """Periods of the multi-period discriminators, in samples; empty for none of these discriminators."""
    windows: tuple[Annotated[int, Field(ge=16)], ...] = (256, 512, 1024, 2048)
    """Windows of the multi-resolution STFT discriminators, in samples; empty for none of these discriminators."""
    period_channels: AtLeastOne = 8
    """Width of a multi-period discriminator's first layer."""
    stft_channels: AtLeastOne = 48
    """Width of an STFT discriminator's layers."""
    loss: Literal["hinge", "least_squares"] = "least_squares"
    """The adversarial loss. Least squares keeps the logits, and so the size of the gradients, within bounds."""
    learning_rate: Positive = 5e-4
    """Learning rate of the discriminators' AdamW, constant."""
    betas: tuple[Share, Share] = (0.8, 0.99)
    """Decay of that AdamW's moving averages of the gradient and of its square."""
    gradient_clip: Positive = 10.0
    """Norm to which the gradient of all discriminators is clipped."""
    alone_steps: Count = 500
    """Steps at the start of the phase in which only the discriminators learn; untrained, they would wreck the codec."""
    ramp_steps: Count = 1000
    """Steps after that in which the weight of the adversarial losses rises from 0."""
    every: AtLeastOne = 2
    """Steps from one update of the discriminators to the next."""
    adversarial: NotNegative = 0.2
    """Weight of the adversarial loss in the codec's loss."""
    adaptive: bool = False
    """Multiply that weight, in every step, by |gradient of the reconstruction losses| / |gradient of the adversarial
    loss|, both at the decoder's last layer, so that the two pull equally hard: the lambda of the VQ-GAN."""
    feature: NotNegative = 0.3
    """Weight of the feature-matching loss in the codec's loss."""


class BottleneckConfig(_Section):
    """The bottleneck between encoder and decoder; its other sizes, such as num_stages, are in [model]."""

    kind: KindName = "rvq"
    """The kind of bottleneck."""
    levels: AtLeastOne = 4
    """Levels that each latent value of a "lattice" is rounded to."""
    coarse_stages: AtLeastOne = 4
    """Stages of a "hierarchical" bottleneck that code two latent frames together; the other stages code the two frames
    in turn."""


class QuantizerConfig(_Section):
    """The learning of the codebooks."""

    learning: Literal["ema", "gradient"] = "ema"
    """How code vectors learn: as moving averages of the latents assigned to each code, or by the gradient of the
    codebook loss. The latter, with loss.codebook = 1 and loss.commitment = beta, is the loss of the VQ-VAE (van den
    Oord et al. 2017)."""
    start_step: Count = 1000
    """Step at which k-means sets the codebooks. Before it, noise takes the place of the quantizer."""
    kmeans_batches: AtLeastOne = 16
    """Batches whose latents k-means runs on."""
    ema_decay: Share = 0.99
    """Decay of the moving averages that code vectors learn from."""
    usage_threshold: Share = 0.1
    """A code used less than this fraction of the mean usage is replaced by a latent of the batch. Formerly
    `dead_share`."""
    full_share: Share = 0.25
    """Share of the items of a batch that use all stages; the other items use a random number of stages."""
    varying_share: Share = 0.0
    """Share of the items in which the number of stages varies from frame to frame, as in files of variable bitrate; the
    random number is their mean."""


class TextureConfig(_Section):
    """The decoding of a stochastic decoder (model.decoder_stochastic), calibrated on held-out speech at the start of a
    run and before every validation."""

    scale: Share = 0.35
    """Share of the spreads in use. Draws with all of them are distributed as speech is, each for itself; together they
    sound rough, as neighbours in speech are not independent."""
    restored: Share = 0.75
    """Share of the energy in dB, lost by that, that a gain gives back, by coefficient."""


class RunConfig(_Section):
    """Length, precision and housekeeping."""

    steps: AtLeastOne = 20_000
    """Length of the run."""
    seed: int = 0
    """Seed of all that is random."""
    precision: Literal["bf16", "fp32"] = "bf16"
    """Precision of the networks in training: bfloat16 autocast, or float32."""
    log_every: AtLeastOne = 20
    """Steps between lines of metrics.jsonl."""
    validate_every: AtLeastOne = 1000
    """Steps between validations."""
    best_by: str = "mel"
    """Validation score that decides which checkpoint is best: as logged ("mel@12"), or without "@" for the mean over
    the numbers of stages. With a WaveNet decoder "nll", the negative log-likelihood."""
    compile: bool = False
    """Whether to run the model through `torch.compile`: slow to start, then faster on GPUs."""
    tensorboard: bool = True
    """Whether to write event files for TensorBoard, if it is installed."""
    checkpoint_minutes: Positive = 5.0
    """Minutes between checkpoints."""


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
    texture: TextureConfig = TextureConfig()
    run: RunConfig = RunConfig()

    def to_dict(self) -> dict[str, Any]:
        """Everything by section and name, as JSON has it."""
        values = json.loads(self.model_dump_json(exclude={"model"}))
        model = {key: value for key, value in dataclasses.asdict(self.model).items() if key not in OF_BOTTLENECK}
        return {"model": model, **values}

    def to_json(self) -> str:
        """Everything by section and name, as readable JSON."""
        return json.dumps(self.to_dict(), indent=2)
