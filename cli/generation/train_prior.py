"""`vqcodec train-prior`: recordings, or their codes -> a prior over the codes of a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vqcodec.models import registry

from ..options import Bitrate, Device, Force, Quiet, Stages, TrainingThreads, check_one_of, use_threads
from ..terminal.messages import say
from ..terminal.progress import News, bar

if TYPE_CHECKING:
    from vqcodec.recipes.prior.likelihood import Bits

STEPS = 600
STAGES = 4


def train_prior(
    data: Annotated[
        list[Path],
        typer.Option("--data", metavar="IN", help="Folder of tokens, or of recordings, searched recursively."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The prior to write.")],
    model: Annotated[
        str, typer.Option(metavar="NAME|PATH", help="Whose codes: a model that ships, or a file.")
    ] = registry.DEFAULT,
    kind: Annotated[Literal["transformer", "pixelcnn"], typer.Option(help="The network.")] = "transformer",
    bitrate: Bitrate = None,
    stages: Stages = None,
    given: Annotated[
        int, typer.Option(metavar="N", min=0, help="Stages before those of --stages, whose codes are given.")
    ] = 0,
    context: Annotated[float, typer.Option(metavar="S", min=0.1, help="Seconds that the prior sees at once.")] = 8.0,
    width: Annotated[int, typer.Option(metavar="N", min=2, help="Activations of a frame.")] = 256,
    layers: Annotated[int, typer.Option(metavar="N", min=1, help="Blocks over frames.")] = 6,
    depth_layers: Annotated[int, typer.Option(metavar="N", min=1, help="Blocks over the stages of a frame.")] = 1,
    speakers: Annotated[bool, typer.Option("--speakers", help="The prior can be told who speaks.")] = False,
    texts: Annotated[
        bool, typer.Option("--texts", help="It can be told what is said; the recordings need transcripts.")
    ] = False,
    steps: Annotated[int, typer.Option(metavar="N", min=1, help="Steps of training.")] = STEPS,
    items: Annotated[int, typer.Option(metavar="N", min=1, help="Crops of a step, each as long as the context.")] = 4,
    seed: Annotated[int, typer.Option(metavar="N", min=0, max=1 << 32, help="Of all that is random.")] = 0,
    cache: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for codes and the checkpoint; by default beside FILE, named like it."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
    device: Device = "auto",
    threads: TrainingThreads = None,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Train a prior: a network that says how likely codes are, and samples new ones.

    Ctrl-C stops with a checkpoint, from which --resume goes on; codes are computed once. The last lines say how many
    bits a code of held-out speakers costs: by how often each code is used, with the model's context model, and here.
    """
    from vqcodec.files import check_output

    check_one_of({"--bitrate": bitrate, "--stages": stages})
    check_output(out, force)
    use_threads(threads)
    path = registry.find(model)
    config = registry.describe(path).config
    count = stages or (STAGES if bitrate is None else config.stages_for(1000 * bitrate))
    sizes = {
        "kind": kind,
        "num_stages": min(count, config.num_stages - given),
        "first_stage": given,
        "context_frames": round(context * config.frame_rate),
        "width": width,
        "layers": layers,
        "depth_layers": depth_layers,
    }
    from vqcodec.recipes.prior.run import Work, run
    from vqcodec.recipes.prior.train import Settings

    work = Work(
        model=path,
        data=data,
        out=out,
        cache=cache or out.with_suffix(".prior"),
        sizes=sizes,
        speakers=speakers,
        texts=texts,
        device=device,
        resume=resume,
        force=force,
    )
    with bar(1.0, quiet) as update:
        found = run(work, Settings(steps=steps, items=items, seed=seed), News(update, quiet))
    if not quiet:
        for bits in found:
            say(line(bits))


def line(bits: Bits) -> str:
    """One line about what codes cost."""
    each = f" ({' '.join(f'{value:.2f}' for value in bits.stages)})" if len(bits.stages) > 1 else ""
    return f"{bits.label}: {bits.code:.3f} bits a code{each}, {bits.second:.0f} bits a second"
