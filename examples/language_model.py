"""Train a tiny transformer on the codes of a folder of speech, and decode what it then says.

    python examples/language_model.py FOLDER --out spoken.wav

It needs nothing but vqcodec. The codes stand in the delay pattern of MusicGen (Copet et al. 2023): a step holds one
code of every stage, each stage one frame later than the one before, so that a stage sees those above it of the same
frame.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from vqcodec import Codec, audio
from vqcodec.models import registry
from vqcodec.tokens import Vocabulary, delay, undelay


class LanguageModel(nn.Module):
    """Tokens of the steps so far -> logits of the next: [batch, stage, step] -> [batch, step, len(vocabulary)]."""

    def __init__(self, vocabulary: Vocabulary, context: int, width: int = 192, layers: int = 4) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.embed = nn.Embedding(len(vocabulary), width)
        self.place = nn.Parameter(0.02 * torch.randn(context, width))
        layer = nn.TransformerEncoderLayer(width, 4, 4 * width, dropout=0.0, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width), enable_nested_tensor=False)
        self.head = nn.Linear(width, len(vocabulary))

    def forward(self, tokens: Tensor) -> Tensor:
        steps = tokens.shape[-1]
        x = self.embed(tokens).sum(1) + self.place[:steps]  # [batch, step, width]
        mask = nn.Transformer.generate_square_subsequent_mask(steps)
        return self.head(self.blocks(x, mask=mask, is_causal=True))

    def loss(self, tokens: Tensor) -> Tensor:
        """Mean cross entropy of the codes among `tokens` [batch, stage, step], in nats per code []."""
        begin = torch.full_like(tokens[..., :1], self.vocabulary.special("begin"))
        logits = self(torch.cat([begin, tokens[..., :-1]], dim=-1))
        codes = self.vocabulary.decode(tokens)  # -1 where a stage has none
        losses = [
            nn.functional.cross_entropy(
                logits[..., self.vocabulary.allowed(stage)].mT, codes[:, stage], ignore_index=-1
            )
            for stage in range(codes.shape[1])
        ]
        return torch.stack(losses).mean()

    @torch.no_grad()
    def generate(self, frames: int, temperature: float = 0.9) -> Tensor:
        """Draw codes [stage, frame], no more frames than in the crops of training."""
        pad, stages = self.vocabulary.special("pad"), self.vocabulary.num_stages
        tokens = torch.full((1, stages, 1), self.vocabulary.special("begin"))
        for step in range(frames + stages - 1):
            logits = self(tokens)[0, -1] / temperature
            next_tokens = torch.full((1, stages, 1), pad)
            for stage in range(stages):
                if stage <= step < stage + frames:
                    allowed = self.vocabulary.allowed(stage)
                    drawn = torch.multinomial(logits[allowed].softmax(-1), 1)
                    next_tokens[0, stage] = allowed.start + drawn
            tokens = torch.cat([tokens, next_tokens], dim=-1)
        return self.vocabulary.decode(undelay(tokens[0, :, 1:]))


def codes_of(codec: Codec, folder: Path, stages: int) -> list[Tensor]:
    """Codes of all sounds in a folder, each [stage, frame]."""
    codes = []
    for path in audio.find(folder):
        waveform, _ = audio.read(path, codec.sample_rate)
        codes.append(torch.as_tensor(codec.encode(waveform[:1], stages=stages).codes[0]))
    return codes


def batch_of(codes: Sequence[Tensor], size: int, frames: int, vocabulary: Vocabulary) -> Tensor:
    """Random crops in the delay pattern, as tokens [item, stage, step]."""
    long_enough = [item for item in codes if item.shape[-1] >= frames]
    if not long_enough:
        raise SystemExit(f"no sound is as long as {frames} frames")
    weights = torch.tensor([float(item.shape[-1]) for item in long_enough])
    crops = []
    for index in torch.multinomial(weights, size, replacement=True).tolist():
        item = long_enough[index]
        first = int(torch.randint(item.shape[-1] - frames + 1, ()))
        crops.append(item[:, first : first + frames])
    return delay(vocabulary.encode(torch.stack(crops)), vocabulary.special("pad"))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Train a tiny language model on codes of speech, and let it speak.")
    parser.add_argument("folder", type=Path, help="folder of speech in any format")
    parser.add_argument("--out", type=Path, default=Path("spoken.wav"), help="sound to write, over an older one")
    parser.add_argument("--model", help="a model that ships, or a .safetensors file")
    parser.add_argument("--stages", type=int, default=4, help="codes of a frame to learn")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of crops, and of what it says")
    parser.add_argument("--batch", type=int, default=8, help="crops in a batch")
    parser.add_argument("--steps", type=int, default=500, help="steps of training")
    options = parser.parse_args(arguments)

    torch.manual_seed(0)
    codec = Codec.load(options.model or registry.DEFAULT, device="cpu")
    codes = codes_of(codec, options.folder, options.stages)
    count = sum(item.numel() for item in codes)
    print(f"{len(codes)} sounds, {count / codec.frame_rate / options.stages / 60:.1f} minutes, {count} codes")

    vocabulary = Vocabulary(codec.codebook_size, options.stages)
    samples = round(options.seconds * codec.sample_rate)
    frames = codec.config.num_frames(samples)
    model = LanguageModel(vocabulary, context=frames + options.stages - 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for step in range(options.steps):
        for group in optimizer.param_groups:  # a short warm-up, then a straight line to zero
            group["lr"] = 1e-3 * min((step + 1) / 20, 1 - step / options.steps)
        loss = model.loss(batch_of(codes, options.batch, frames, vocabulary))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 25 == 0 or step == options.steps - 1:
            print(f"step {step}: {loss.item():.3f} nats per code", flush=True)

    model.eval()
    spoken = model.generate(frames)
    audio.write(options.out, codec.decode(spoken[None].numpy())[:, :samples], codec.sample_rate, force=True)
    print(f"{options.out}: {options.seconds:g} s")


if __name__ == "__main__":
    main()
