"""Train the UNet, and if asked the text encoders with it, on a bank of latents.

Runs in a few workers (parallel.py). Every worker draws its pictures, captions, noise and timesteps from (seed, worker,
step) alone, so a run that was broken off goes on exactly where its last checkpoint was.

The schedule counts pictures: warm up, hold, and fall to nothing over the last part (`--decay`). The fall is what turns
blobs into shapes. To plan anew while it runs, write a number into OUT/total.
"""

from __future__ import annotations

import argparse
import copy
import time
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from tqdm import tqdm

import bank
import captions
import model
import parallel
import scenes
import text


class BmmAttention:
    """Attention as two batched products. The fused kernel's backward is several times slower on CPUs."""

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, temb=None):
        source = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        q, k, v = (
            attn.head_to_batch_dim(x).contiguous()
            for x in (attn.to_q(hidden_states), attn.to_k(source), attn.to_v(source))
        )
        with torch.autocast("cpu", enabled=False):  # autocast would copy the scores to fp32 and back
            weights = torch.softmax(torch.bmm(q * attn.scale, k.transpose(1, 2)), dim=-1)
            out = torch.bmm(weights, v)
        return attn.to_out[1](attn.to_out[0](attn.batch_to_head_dim(out)))


class Painter(torch.nn.Module):
    """Everything that is trained here, and its loss."""

    def __init__(self, frozen_text: bool = True) -> None:
        super().__init__()
        self.frozen_text = frozen_text
        self.one, self.two = text.encoders()
        self.unet = model.unet()
        self.unet.set_attn_processor(BmmAttention())
        self.register_buffer("alphas", model.scheduler().alphas_cumprod.float(), persistent=False)

    def loss(
        self, latents: torch.Tensor, texts: list[str], dropped: torch.Tensor, t: torch.Tensor, noise: torch.Tensor,
        weight: torch.Tensor,
    ) -> torch.Tensor:  # fmt: skip
        with torch.set_grad_enabled(not self.frozen_text):
            words, pooled = text.embed(self.one, self.two, *text.batch(texts))
        # What the pipeline hands over for an absent negative prompt: zeros, for the words and for the pooled text.
        keep = (~dropped).float()
        words, pooled = words * keep[:, None, None], pooled * keep[:, None]
        a = self.alphas[t].sqrt()[:, None, None, None]
        s = (1 - self.alphas[t]).sqrt()[:, None, None, None]
        extra = {"text_embeds": pooled, "time_ids": model.time_ids(len(t))}
        out = self.unet(a * latents + s * noise, t, words, added_cond_kwargs=extra).sample
        return (weight * (out.float() - (a * noise - s * latents)) ** 2).mean()


def object_weights(shown: np.ndarray, extra: float) -> torch.Tensor:
    """Per latent cell (n, 1, 16, 16), mean 1: cells under the object weigh 1 + `extra` to the ground's 1.

    A small object is 7 % of the cells; unweighted, its corners are hardly worth learning.
    """
    cells = (torch.arange(16) + 0.5) * 8
    places, sizes = [*scenes.PLACES.values()], [*scenes.SIZES.values()]
    centre = torch.tensor([places[p] for p in shown[:, 3]])
    reach = torch.tensor([sizes[s] for s in shown[:, 0]])[:, None] + 6
    x, y = ((cells - centre[:, i : i + 1]).abs() < reach for i in (0, 1))
    weight = 1 + extra * (y[:, None, :, None] & x[:, None, None, :]).float()
    return weight / weight.mean(dim=(1, 2, 3), keepdim=True)


def work(rank: int, a: argparse.Namespace) -> None:
    torch.manual_seed(a.seed)  # the same first weights everywhere
    painter = Painter(frozen_text=a.text_lr == 0)
    start_text = torch.load(a.text, weights_only=True)
    painter.one.load_state_dict(start_text["one"]), painter.two.load_state_dict(start_text["two"])
    readers = [*painter.one.parameters(), *painter.two.parameters()]
    params = [*readers, *painter.unet.parameters()]
    optimiser = torch.optim.AdamW(
        [{"params": readers, "scale": a.text_lr}, {"params": [*painter.unet.parameters()], "scale": 1.0}],
        lr=a.lr, betas=(0.9, 0.99), weight_decay=0.01, fused=True,
    )  # fmt: skip
    gradient = parallel.Gradient(params)
    ema = copy.deepcopy(painter)
    step, seen, total, checkpoint = 0, 0, a.total, a.out / "train.pt"
    if checkpoint.exists() and not a.fresh:
        state = torch.load(checkpoint, weights_only=True)
        painter.load_state_dict(state["painter"]), ema.load_state_dict(state["ema"])
        optimiser.load_state_dict(state["optimiser"])
        for group, scale in zip(optimiser.param_groups, (a.text_lr, 1.0)):
            group["scale"] = scale
        step, seen = state["step"], state["seen"]
    latents, shown = bank.load(a.bank)
    small = np.flatnonzero(shown[:, 0] == 0)
    kept, live = [*ema.parameters()], [*painter.parameters()]

    def save() -> None:
        state = {"painter": painter.state_dict(), "ema": ema.state_dict(), "optimiser": optimiser.state_dict()}
        torch.save(state | {"step": step, "seen": seen}, checkpoint.with_suffix(".part"))
        checkpoint.with_suffix(".part").replace(checkpoint)

    mine, saved, mean, log = a.batch // a.workers, time.time(), None, None
    if rank == 0:
        log = (a.out / "loss.csv").open("a")
    bar = tqdm(total=total, initial=seen, unit="pic", mininterval=10, disable=rank != 0, desc="shapes")
    while seen < total:
        if step % 20 == 0:
            asked = a.out / "total"
            plan = torch.tensor([int(asked.read_text()) if asked.exists() else a.total])
            dist.broadcast(plan, 0)
            total = bar.total = int(plan)
        rng = np.random.default_rng([a.seed, rank, step])
        noise_rng = torch.Generator().manual_seed(int(rng.integers(2**62)))
        rows = rng.integers(0, len(latents), mine)
        forced = rng.random(mine) < a.small
        rows[forced] = small[rng.integers(0, len(small), forced.sum())]
        texts = [captions.caption(scenes.Scene(*map(int, shown[i])), rng)[0] for i in rows]
        dropped = torch.from_numpy(rng.random(mine) < a.dropout)
        # Evenly spread timesteps: each batch sees all noise levels, which makes its gradient quieter.
        t = torch.from_numpy(((np.arange(mine) + rng.random(mine)) * (1000 / mine)).astype(np.int64))
        x = latents[torch.from_numpy(rows)]
        noise = torch.randn(x.shape, generator=noise_rng)
        rate = a.lr * min(1.0, (step + 1) / a.warmup, max(total - seen, 0) / (a.decay * total))
        for group in optimiser.param_groups:
            group["lr"] = rate * group["scale"]
        gradient.clear()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = painter.loss(x, texts, dropped, t, noise, object_weights(shown[rows], a.object_weight))
        loss.backward()
        gradient.average_and_clip()
        optimiser.step()
        step, seen = step + 1, seen + a.batch
        with torch.no_grad():
            torch._foreach_lerp_(kept, live, 1 - min(a.ema, step / (step + 9)))
        mean = loss.item() if mean is None else 0.99 * mean + 0.01 * loss.item()
        if rank == 0:
            bar.update(a.batch)
            if step % 20 == 0:
                bar.set_postfix(loss=f"{mean:.4f}", lr=f"{rate:.1e}", refresh=False)
                log.write(f"{step},{seen},{mean:.5f},{rate:.2e},{time.time():.0f}\n"), log.flush()
            if time.time() - saved > a.save_every or seen >= total:
                save()
                saved = time.time()


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--bank", type=Path, required=True, help="folder of bank.py")
    p.add_argument("--text", type=Path, required=True, help="file of train_text.py")
    p.add_argument("--out", type=Path, required=True, help="folder for checkpoint and loss log; resumes from it")
    p.add_argument("--total", type=int, default=220_000, help="pictures in all (default: %(default)s)")
    p.add_argument("--decay", type=float, default=0.4, help="last part over which the rate falls (default: %(default)s)")
    p.add_argument("--batch", type=int, default=64, help="pictures a step, all workers together (default: %(default)s)")
    p.add_argument("--workers", type=int, default=2, help="single-threaded processes (default: %(default)s)")
    p.add_argument("--lr", type=float, default=1.2e-3, help="peak learning rate (default: %(default)s)")
    p.add_argument("--text-lr", type=float, default=0.0, help="the text encoders' part of it; 0 leaves them as train_text.py made them (default: %(default)s)")
    p.add_argument("--warmup", type=int, default=200, help="steps (default: %(default)s)")
    p.add_argument("--ema", type=float, default=0.998, help="decay of the weight average (default: %(default)s)")
    p.add_argument("--dropout", type=float, default=0.12, help="captions replaced by zeros (default: %(default)s)")
    p.add_argument("--object-weight", type=float, default=0.0, help="extra weight of the cells under the object (default: %(default)s)")
    p.add_argument("--small", type=float, default=0.0, help="part of the batch that must show small objects (default: %(default)s)")
    p.add_argument("--save-every", type=float, default=180, help="seconds between checkpoints (default: %(default)s)")
    p.add_argument("--fresh", action="store_true", help="start anew even if there is a checkpoint")
    p.add_argument("--seed", type=int, default=4, help="default: %(default)s")
    a = p.parse_args()
    a.out.mkdir(parents=True, exist_ok=True)
    parallel.run(work, a.workers, a.out / "meeting", a)


if __name__ == "__main__":
    main()
