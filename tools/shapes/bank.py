"""Draw and encode the training pictures once: a bank of latents with the scenes they show.

Captions are not stored: training writes a new one for a picture each time it meets it. Written in shards, so that a
broken run goes on where it was and training can start on the shards that are there.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from tqdm import tqdm

import scenes

SHARD = 2048


def load(folder: Path) -> tuple[torch.Tensor, np.ndarray]:
    """All shards: scaled latents as float32 (n, 4, 16, 16), and scenes as integers (n, 5)."""
    shards = [torch.load(f, weights_only=True) for f in sorted(folder.glob("*.pt"))]
    if not shards:
        raise SystemExit(f"no shards in {folder}; run bank.py first")
    return torch.cat([s["latents"] for s in shards]).float(), torch.cat([s["scenes"] for s in shards]).numpy()


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--vae", type=Path, required=True, help="folder of the trained VAE")
    p.add_argument("--out", type=Path, required=True, help="folder for the shards")
    p.add_argument("--count", type=int, default=32768, help="pictures (default: %(default)s)")
    p.add_argument("--batch", type=int, default=32, help="default: %(default)s")
    p.add_argument("--seed", type=int, default=3, help="default: %(default)s")
    p.add_argument("--threads", type=int, default=2, help="default: %(default)s")
    a = p.parse_args()

    torch.set_num_threads(a.threads)
    a.out.mkdir(parents=True, exist_ok=True)
    vae = AutoencoderKL.from_pretrained(a.vae).eval()
    for shard in tqdm(range(-(-a.count // SHARD)), desc="bank", mininterval=5):
        file = a.out / f"{shard:04}.pt"
        if file.exists():
            continue
        rng = np.random.default_rng([a.seed, shard])
        chosen = [scenes.random_scene(rng) for _ in range(SHARD)]
        latents = []
        for i in range(0, SHARD, a.batch):
            drawn = np.stack([scenes.draw(s, rng) for s in chosen[i : i + a.batch]])
            x = torch.from_numpy(drawn).permute(0, 3, 1, 2).float() / 127.5 - 1
            with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
                latents.append(vae.encode(x).latent_dist.mean.float() * vae.config.scaling_factor)
        state = {"latents": torch.cat(latents).half(), "scenes": torch.tensor(chosen, dtype=torch.uint8)}
        torch.save(state, file.with_suffix(".part"))
        file.with_suffix(".part").replace(file)


if __name__ == "__main__":
    main()
