"""What the commands that use a prior share: their options, and how codec and prior are loaded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from vqcodec.errors import ConfigError, ModelMismatch

if TYPE_CHECKING:
    from vqcodec.recipes.prior.generate import Generator

PriorFile: TypeAlias = Annotated[
    Path, typer.Option("--prior", "-p", metavar="FILE", help="A prior, as `vqcodec train-prior` writes it.")
]
Temperature: TypeAlias = Annotated[
    float, typer.Option(metavar="T", min=0.0, help="Below 1 likely codes become likelier; 0 takes the likeliest.")
]
TopK: TypeAlias = Annotated[
    int | None, typer.Option("--top-k", metavar="K", min=1, help="Draw from the K likeliest codes only.")
]
TopP: TypeAlias = Annotated[
    float, typer.Option("--top-p", metavar="P", help="Draw from the likeliest codes that add up to P, 0 to 1.")
]
Repetition: TypeAlias = Annotated[
    float,
    typer.Option(
        metavar="R", min=0.0, max=1.0, help="Draw again, from all codes, what makes up more than R of the last ten."
    ),
]
Seed: TypeAlias = Annotated[
    int, typer.Option(metavar="N", min=0, max=1 << 32, help="The same seed gives the same sound.")
]
Speaker: TypeAlias = Annotated[
    str | None, typer.Option(metavar="NAME", help="Who speaks, of those that the prior was trained with.")
]
Text: TypeAlias = Annotated[
    str | None, typer.Option(metavar="TEXT", help="What is said, if the prior was trained with texts.")
]


def generator(
    prior: Path,
    model: str | None,
    device: str,
    sampling: dict[str, Any],
    fine: Path | None = None,
    **told: str | None,
) -> Generator:
    """Load a prior and the model of its codes.

    Args:
        prior: its file.
        model: a name or a path; the one that the prior was trained on if None.
        device: as in `Codec.load`.
        sampling: the fields of `Sampling`.
        fine: the file of a prior of the later stages.
        told: speaker and text.

    Raises:
        CorruptFile: a file is damaged, or is no prior.
        ModelMismatch: the prior is of another model's codes.
        ConfigError: a setting is out of range.
    """
    for file in (prior, fine or prior):
        if not file.is_file():
            raise ConfigError(f"{file}: there is no such prior; `vqcodec train-prior` makes one")
    from vqcodec import Codec
    from vqcodec.checks import checked_device
    from vqcodec.models import registry
    from vqcodec.models.prior import store
    from vqcodec.models.prior.sampling import Sampling
    from vqcodec.recipes.prior.generate import Generator

    chosen = Sampling(**sampling)
    stored = store.load(prior, checked_device(device))
    name = model or _trained_on(stored.facts.get("model"))
    try:
        path = registry.find(name)
    except ModelMismatch:
        if model is not None:
            raise
        raise ModelMismatch(f"{prior} is of the codes of {name!r}; name its file with --model") from None
    stored.check_model(registry.describe(path).fingerprint, prior)
    if stored.prior.config.first_stage:
        raise ConfigError(f"{prior} predicts later stages only; sound needs the first ones as well")
    refiner = None
    if fine is not None:
        found = store.load(fine, checked_device(device))
        found.check_model(registry.describe(path).fingerprint, fine)
        refiner, wanted = found.prior, stored.prior.config.num_stages
        if refiner.config.first_stage != wanted:
            raise ConfigError(f"{fine} is given {refiner.config.first_stage} stages; {prior} predicts {wanted}")
    codec = Codec.load(path, device, "float32")
    return Generator(codec=codec, prior=stored.prior, sampling=chosen, fine=refiner, **told)


def _trained_on(name: object) -> str:
    from vqcodec.models import registry

    return name if isinstance(name, str) else registry.DEFAULT
