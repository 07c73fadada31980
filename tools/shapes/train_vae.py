"""Train the picture codec (AutoencoderKL): 128x128 RGB <-> 16x16 latents of 4 channels.

Seeded and resumable: run it again with the same `--out` and it goes on where the last checkpoint was.
First 64-pixel crops near the object (cheap), then whole pictures (`--whole`, the last part), so that the group norms
meet the statistics they will see later.

With `--decoder-of FOLDER` only the decoder of a finished VAE is trained on: the latents, and with them a UNet trained on
them, stay as they are, and the pictures become sharper. Noise of `--blur` (a part of the latents' spread) stands in for
what a UNet leaves wrong.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from tqdm import tqdm

import parallel
import scenes

CONFIG = {
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "block_out_channels": [16, 32, 64, 64],
    "layers_per_block": 1,
    "latent_channels": 4,
    "norm_num_groups": 8,  # 32, the default, does not divide 16
    "sample_size": scenes.CANVAS,
}
CROP = 64


def pictures(rng: np.random.Generator, count: int, near: bool = False, small: float = 0.0) -> torch.Tensor:
    """`count` random pictures in [-1, 1], (count, 3, 128, 128); with `near`, mostly windows of 64 around the object.

    A part `small` of them shows small objects whatever the dice say: those are the hard ones.
    """
    out = []
    for _ in range(count):
        scene = scenes.random_scene(rng)
        if rng.random() < small:
            scene = scene._replace(size=0)
        picture = scenes.draw(scene, rng)
        if near:
            x, y = scenes.PLACES[scenes.PLACE_NAMES[scene.place]]
            spread = 20 if rng.random() < 0.85 else scenes.CANVAS
            left, top = (int(np.clip(c - CROP / 2 + rng.uniform(-spread, spread), 0, scenes.CANVAS - CROP)) for c in (x, y))
            picture = picture[top : top + CROP, left : left + CROP]
        out.append(picture)
    return torch.from_numpy(np.stack(out)).permute(0, 3, 1, 2).float() / 127.5 - 1


def emphasis(x: torch.Tensor, edge: float) -> torch.Tensor:
    """Weights (n, 1, h, w): an edge is a few pixels of a flat picture, and a pale edge must be as sharp as a strong one."""
    contrast = (F.max_pool2d(x, 7, 1, 3) + F.max_pool2d(-x, 7, 1, 3)).mean(1, keepdim=True)
    return 1 + edge * (contrast > 0.05) / (contrast + 0.25)


def work(rank: int, a: argparse.Namespace) -> None:
    torch.manual_seed(a.seed)
    vae = AutoencoderKL.from_pretrained(a.decoder_of, low_cpu_mem_usage=False) if a.decoder_of else AutoencoderKL(**CONFIG)
    if a.decoder_of:
        vae.encoder.requires_grad_(False), vae.quant_conv.requires_grad_(False)
    params = [p for p in vae.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(params, lr=a.lr, weight_decay=1e-4, betas=(0.9, 0.99), fused=True)
    gradient = parallel.Gradient(params)
    ema = {k: v.clone() for k, v in vae.state_dict().items()}
    start, checkpoint = 0, a.out / "train.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        vae.load_state_dict(state["vae"]), optimiser.load_state_dict(state["optimiser"])
        ema, start = state["ema"], state["step"]

    def save(step: int) -> None:
        state = {"vae": vae.state_dict(), "optimiser": optimiser.state_dict(), "ema": ema, "step": step}
        torch.save(state, checkpoint.with_suffix(".part"))
        checkpoint.with_suffix(".part").replace(checkpoint)

    saved, whole_from, mean = time.time(), int(a.steps * (1 - a.whole)), None
    bar = tqdm(range(start, a.steps), initial=start, total=a.steps, mininterval=5, desc="vae", disable=rank != 0)
    for step in bar:
        rate = a.lr * min(1.0, (step + 1) / 200, (a.steps - step) / (0.5 * a.steps))
        for group in optimiser.param_groups:
            group["lr"] = rate
        rng = np.random.default_rng([a.seed, rank, step])
        torch.manual_seed(int(rng.integers(2**62)))
        mine = a.batch // a.workers
        whole = step >= whole_from
        x = pictures(rng, mine // 4, small=a.small) if whole else pictures(rng, mine, near=True, small=0.5)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            posterior = vae.encode(x).latent_dist
            z = posterior.sample()
            if a.decoder_of:
                z = posterior.mean + a.blur / vae.config.scaling_factor * torch.rand(len(x), 1, 1, 1) * torch.randn(z.shape)
            y = vae.decode(z).sample
        error = (y.float() - x).abs()
        mean_, logvar = posterior.mean.float(), posterior.logvar.float()
        kl = 0.5 * (mean_**2 + logvar.exp() - 1 - logvar).mean()
        loss = (error * emphasis(x, a.edge)).mean() + a.kl * kl
        gradient.clear()
        loss.backward()
        gradient.average_and_clip()
        optimiser.step()
        with torch.no_grad():
            decay = min(0.998, (step + 1) / (step + 10))
            for k, v in vae.state_dict().items():
                ema[k].lerp_(v, 1 - decay)
        l1 = error.mean().item()
        mean = l1 if mean is None else 0.98 * mean + 0.02 * l1
        if rank == 0 and step % 20 == 0:
            spread = logvar.exp().sqrt().mean().item() / mean_.std().item()
            bar.set_postfix(l1=f"{mean:.4f}", kl=f"{kl.item():.2f}", blur=f"{spread:.3f}", refresh=False)
        if rank == 0 and time.time() - saved > a.save_every:
            save(step + 1)
            saved = time.time()
    if rank == 0:
        save(a.steps)
        finish(vae, ema, a)


@torch.no_grad()
def finish(vae: AutoencoderKL, ema: dict[str, torch.Tensor], a: argparse.Namespace) -> None:
    """Write the averaged weights, with the scale that gives the UNet latents of unit spread."""
    vae.load_state_dict(ema)
    vae.eval()
    x = pictures(np.random.default_rng(a.seed + 1000), 256)
    z = torch.cat([vae.encode(c).latent_dist.mean for c in x.split(32)])
    y = torch.cat([vae.decode(c).sample for c in z.split(32)])
    if not a.decoder_of:
        vae.register_to_config(scaling_factor=round(1 / z.std().item(), 5))
    print(f"held-out L1 {(y - x).abs().mean():.4f}, latent mean {z.mean((0, 2, 3)).tolist()}, std {z.std((0, 2, 3)).tolist()}")
    vae.save_pretrained(a.out / "vae")


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--out", type=Path, required=True, help="folder for the checkpoint and the finished VAE")
    p.add_argument("--steps", type=int, default=2720, help="optimiser steps in all (default: %(default)s)")
    p.add_argument("--whole", type=float, default=0.1, help="last part, on whole pictures (default: %(default)s)")
    p.add_argument("--batch", type=int, default=32, help="crops a step; a whole picture counts four (default: %(default)s)")
    p.add_argument("--workers", type=int, default=2, help="single-threaded processes (default: %(default)s)")
    p.add_argument("--lr", type=float, default=2e-3, help="peak learning rate (default: %(default)s)")
    p.add_argument("--kl", type=float, default=3e-4, help="weight of the mean KL per latent number (default: %(default)s)")
    p.add_argument("--decoder-of", type=Path, help="train only the decoder of this finished VAE")
    p.add_argument("--blur", type=float, default=0.15, help="with --decoder-of: most noise on the latents (default: %(default)s)")
    p.add_argument("--edge", type=float, default=2.0, help="extra weight of edges (default: %(default)s)")
    p.add_argument("--small", type=float, default=0.3, help="part of the whole pictures that must be small (default: %(default)s)")
    p.add_argument("--save-every", type=float, default=60, help="seconds between checkpoints (default: %(default)s)")
    p.add_argument("--seed", type=int, default=1, help="default: %(default)s")
    a = p.parse_args()
    parallel.run(work, a.workers, a.out / "meeting", a)


if __name__ == "__main__":
    main()
