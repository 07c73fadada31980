"""Tiny FLUX pipelines with random weights: built from a plain description, run by diffusers, stored small.

As `pipelines.py` does it for SDXL: a description (`FluxVariation`) is data, everything is seeded, and the same versions of
torch and diffusers write the same folders. What a trained network has and a fresh one has not (norms other than one, biases
other than zero, attention that looks somewhere) is put in, so that a part left out shows.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from diffusers import (AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxImg2ImgPipeline, FluxInpaintPipeline, FluxPipeline,
                       FluxTransformer2DModel)
from PIL import Image
from safetensors.torch import save_file
from transformers import CLIPTextModel, T5Config, T5EncoderModel

import t5_tokenizers
import t5_vocabulary
import vocabulary
from pipelines import NEGATIVE, PROMPT, in_double, perturb, rewrite, text_encoder, tokenizer

CLIP = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24, "hidden_act": "quick_gelu"}
T5 = {"d_model": 16, "d_kv": 6, "d_ff": 28, "num_layers": 2, "num_heads": 3, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
TRANSFORMER = {"num_layers": 2, "num_single_layers": 2, "attention_head_dim": 10, "num_attention_heads": 2, "axes_dims_rope": (2, 6, 2)}
VAE = {"block_out_channels": [4, 8, 8, 8], "in_channels": 3, "out_channels": 3, "layers_per_block": 1, "norm_num_groups": 4, "latent_channels": 4,
       "sample_size": 64, "scaling_factor": 0.3611, "shift_factor": 0.1159, "use_quant_conv": False, "use_post_quant_conv": False}
SCHNELL = {"shift": 1.0, "use_dynamic_shifting": False}
DEV = {"shift": 3.0, "use_dynamic_shifting": True, "base_shift": 0.5, "max_shift": 1.15, "base_image_seq_len": 256, "max_image_seq_len": 4096}
TIMES = (0.5, 0.961)


@dataclass
class FluxRun:
    """Pictures from one call. `kind` is `text`, `image` or `inpaint`; the input pictures are drawn from the first seed."""

    name: str
    kind: str = "text"
    prompt: str = PROMPT
    negative: str | None = None
    steps: int = 3
    guidance: float = 3.5
    true_cfg: float = 1.0
    width: int = 64
    height: int = 64
    seeds: list[int] = field(default_factory=lambda: [7])
    strength: float = 0.6
    tokens: int = 48
    scheduler: dict = field(default_factory=dict)  # keys in place of the model's own
    image: bool = True  # keep the first decoded image too, the largest of the tensors


@dataclass
class FluxVariation:
    """What differs from the base pipeline."""

    name: str
    runs: list[FluxRun]
    clip: dict = field(default_factory=dict)
    t5: dict = field(default_factory=dict)
    transformer: dict = field(default_factory=dict)
    vae: dict = field(default_factory=dict)
    scheduler: dict = field(default_factory=lambda: dict(SCHNELL))
    seed: int = 0
    dtype: torch.dtype = torch.float16
    spiece: bool = False  # `spiece.model` in place of T5's `tokenizer.json`
    double: bool = False  # have the VAE compute in double precision too
    old_t5_files: bool = False  # the token table under its second name, and what follows from `feed_forward_proj` not spelled out


def sharpen(transformer: torch.nn.Module) -> None:
    """Keys and queries three times as long, so that attention looks somewhere and a wrong position is seen."""
    with torch.no_grad():
        for name, p in transformer.named_parameters():
            if ".norm_q." in name or ".norm_k." in name or ".norm_added_" in name:
                p *= 3.0


@torch.no_grad()
def build(v: FluxVariation, work: Path) -> FluxPipeline:
    """The pipeline in fp32, its weights already rounded to what will be stored."""
    first = text_encoder(CLIPTextModel, CLIP | v.clip, v.seed)
    second_tokenizer = t5_tokenizers.tokenizer()
    torch.manual_seed(v.seed + 1)
    second = T5EncoderModel(T5Config(**(T5 | {"vocab_size": len(second_tokenizer) + 3} | v.t5)))
    vae = VAE | v.vae
    levels = len(vae["block_out_channels"])
    vae |= {"down_block_types": ["DownEncoderBlock2D"] * levels, "up_block_types": ["UpDecoderBlock2D"] * levels}
    network = TRANSFORMER | {"in_channels": 4 * vae["latent_channels"], "joint_attention_dim": second.config.d_model,
                             "pooled_projection_dim": first.config.hidden_size} | v.transformer
    torch.manual_seed(v.seed + 2)
    transformer = FluxTransformer2DModel(**network)
    torch.manual_seed(v.seed + 3)
    vae = AutoencoderKL(**vae)
    modules = (first, second, transformer, vae)
    for i, module in enumerate(modules):
        module.eval()  # but with gradients, as `from_pretrained` leaves it
        perturb(module, v.seed + 10 + i)
    sharpen(transformer)
    for module in modules:
        for p in module.parameters():
            p.copy_(p.to(v.dtype).to(torch.float32))
    pipeline = FluxPipeline(scheduler=FlowMatchEulerDiscreteScheduler(**v.scheduler), vae=vae, text_encoder=first, text_encoder_2=second,
                            tokenizer=tokenizer(work / "tokenizer", vocabulary.END), tokenizer_2=second_tokenizer, transformer=transformer)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def store(v: FluxVariation, pipeline: FluxPipeline, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    pipeline.save_pretrained(folder, safe_serialization=True)
    for path in folder.rglob("*.safetensors"):
        rewrite(path, lambda tensors: {n: t.to(v.dtype) if t.is_floating_point() else t for n, t in tensors.items()})
    if v.old_t5_files:
        rewrite(folder / "text_encoder_2" / "model.safetensors",
                lambda ts: {"encoder.embed_tokens.weight" if n == "shared.weight" else n: t for n, t in ts.items()})
        config = folder / "text_encoder_2" / "config.json"
        kept = {k: c for k, c in json.loads(config.read_text()).items() if k not in ("dense_act_fn", "is_gated_act")}
        config.write_text(json.dumps(kept, indent=2) + "\n")
    if not any(run.kind != "text" for run in v.runs):
        keep = ("decoder.", "post_quant_conv.")
        rewrite(folder / "vae" / "diffusion_pytorch_model.safetensors", lambda ts: {n: t for n, t in ts.items() if n.startswith(keep)})
    vocabulary.write_pair(folder / "tokenizer")
    (folder / "tokenizer" / "tokenizer.json").unlink()
    if v.spiece:
        (folder / "tokenizer_2" / "tokenizer.json").unlink()
        (folder / "tokenizer_2" / "spiece.model").write_bytes(t5_vocabulary.spiece_model())


def input_pictures(run: FluxRun) -> tuple[Image.Image, Image.Image]:
    """A picture of soft colours, and a mask with two blots and a grey edge."""
    generator = np.random.default_rng(run.seeds[0])
    small = generator.integers(0, 256, (run.height // 8, run.width // 8, 3), dtype=np.uint8)
    picture = Image.fromarray(small).resize((run.width, run.height), Image.Resampling.BICUBIC)
    mask = np.zeros((run.height, run.width), dtype=np.uint8)
    mask[run.height // 4 : run.height * 3 // 4, run.width // 8 : run.width // 2] = 255
    mask[: run.height // 3, run.width * 2 // 3 :] = 200
    mask[run.height * 3 // 4 :, :] = 90
    return picture, Image.fromarray(mask)


@torch.no_grad()
def pictures(pipeline: FluxPipeline, v: FluxVariation, run: FluxRun) -> dict[str, torch.Tensor]:
    """Every step's latents and the images, from the noise of each seed."""
    pipeline.scheduler = FlowMatchEulerDiscreteScheduler(**(v.scheduler | run.scheduler))
    dump = {}
    call = dict(negative_prompt=run.negative, num_inference_steps=run.steps, guidance_scale=run.guidance, true_cfg_scale=run.true_cfg,
                height=run.height, width=run.width, max_sequence_length=run.tokens, output_type="pt")
    if run.kind != "text":
        picture, mask = input_pictures(run)
        dump["input"] = torch.from_numpy(np.asarray(picture).copy()).to(torch.int64)
        parts = {k: c for k, c in pipeline.components.items() if k not in ("image_encoder", "feature_extractor")}
        call |= {"image": picture, "strength": run.strength}
    if run.kind == "inpaint":
        dump["mask"] = torch.from_numpy(np.asarray(mask).copy()).to(torch.int64)
        call["mask_image"] = mask
    maker = {"text": lambda: pipeline, "image": lambda: FluxImg2ImgPipeline(**parts), "inpaint": lambda: FluxInpaintPipeline(**parts)}[run.kind]()
    maker.set_progress_bar_config(disable=True)
    # A text makes all of its pictures at once; pictures made from a picture are made one by one, because in one call diffusers
    # takes the noise of the picture's latents from the first seed for all of them.
    for offset in range(len(run.seeds)) if run.kind != "text" else [0]:
        seeds = run.seeds if run.kind == "text" else run.seeds[offset : offset + 1]

        def keep(_pipeline, i, _t, arguments):
            for n in range(len(seeds)):
                dump[f"{offset + n}.latents.{i}"] = arguments["latents"][n : n + 1].clone()
            return arguments

        generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
        images = maker([run.prompt] if len(seeds) == 1 else run.prompt, num_images_per_prompt=len(seeds), generator=generators,
                       callback_on_step_end=keep, **call).images
        if run.image:
            dump.setdefault("0.image", images[:1])
    return dump


@torch.no_grad()
def modules(pipeline: FluxPipeline, v: FluxVariation) -> dict[str, torch.Tensor]:
    """What each network makes by itself of known inputs."""
    dump, run = {}, v.runs[0]
    for name, text in (("prompt", run.prompt), ("negative", run.negative or "")):
        dump[f"{name}.ids.1"] = pipeline.tokenizer(text, padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
        dump[f"{name}.ids.2"] = pipeline.tokenizer_2(text, padding="max_length", max_length=run.tokens, truncation=True, return_tensors="pt").input_ids
        dump[f"{name}.embeds"], dump[f"{name}.pooled"], text_ids = pipeline.encode_prompt(text, max_sequence_length=run.tokens)
    # The tokens cover a few distances only; a long text of any ids covers all of T5's buckets.
    vocab = pipeline.text_encoder_2.config.vocab_size
    dump["long.ids"] = torch.randint(0, vocab, (1, 200), generator=torch.Generator().manual_seed(5))
    dump["long.states"] = pipeline.text_encoder_2(dump["long.ids"])[0]
    factor = pipeline.vae_scale_factor
    rows, columns = run.height // factor // 2, run.width // factor // 2
    channels = pipeline.transformer.config.in_channels // 4
    noise = torch.randn((1, channels, rows * 2, columns * 2), generator=torch.Generator("cpu").manual_seed(run.seeds[0]))
    packed = pipeline._pack_latents(noise, 1, channels, rows * 2, columns * 2)
    dump |= {"noise": noise, "packed": packed}
    ids = pipeline._prepare_latent_image_ids(1, rows, columns, "cpu", torch.float32)
    guidance = torch.tensor([run.guidance]) if pipeline.transformer.config.guidance_embeds else None
    for time in TIMES:
        dump[f"transformer.{time}"] = pipeline.transformer(
            hidden_states=packed, timestep=torch.tensor([time]), guidance=guidance, pooled_projections=dump["prompt.pooled"],
            encoder_hidden_states=dump["prompt.embeds"], txt_ids=text_ids, img_ids=ids).sample
    vae = pipeline.vae

    def decoded(dtype: torch.dtype) -> dict[str, torch.Tensor]:
        return {"vae": vae.decode(noise.to(dtype) / vae.config.scaling_factor + vae.config.shift_factor).sample}

    dump |= decoded(torch.float32)
    return dump | (in_double((vae,), lambda: decoded(torch.float64)) if v.double else {})


def write(v: FluxVariation, root: Path) -> int:
    """The folder of one variation: `model/`, `runs.json`, `expected.safetensors`. The bytes it takes."""
    folder = root / v.name
    with tempfile.TemporaryDirectory() as work:
        pipeline = build(v, Path(work))
        store(v, pipeline, folder / "model")
        expected = modules(pipeline, v)
        for run in v.runs:
            expected |= {f"{run.name}.{key}": tensor for key, tensor in pictures(pipeline, v, run).items()}
    if not all(t.isfinite().all() for t in expected.values()):
        raise ValueError(f"{v.name}: a number is not finite")
    # Input pictures as bytes: whole numbers up to 255 take no eight of them.
    small = {name: t.to(torch.uint8) if name.endswith((".input", ".mask")) else t for name, t in expected.items()}
    save_file({name: t.contiguous() for name, t in small.items()}, folder / "expected.safetensors")
    runs = [{key: value for key, value in vars(run).items() if value not in (None, {})} for run in v.runs]
    (folder / "runs.json").write_text(json.dumps(runs, indent=1) + "\n")
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
