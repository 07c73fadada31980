"""Tiny SD and SDXL pipelines with random weights: built from a plain description, run by diffusers, stored small.

A description (`Variation`) is data: what differs from the base pipeline, how the folder is stored, and which pictures
are made from it. Everything is seeded, so the same versions of torch and diffusers write the same folders.
"""

from __future__ import annotations

import inspect
import json
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import diffusers
import torch
from diffusers import AutoencoderKL, DiffusionPipeline, UNet2DConditionModel
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

import pictures
import vocabulary

TEXT = {"hidden_size": 32, "num_hidden_layers": 5, "num_attention_heads": 4, "intermediate_size": 37, "hidden_act": "quick_gelu"}
TEXT_2 = TEXT | {"hidden_size": 64, "num_hidden_layers": 11, "hidden_act": "gelu", "projection_dim": 64}
UNET = {
    "sample_size": 8, "in_channels": 4, "out_channels": 4, "layers_per_block": 2, "block_out_channels": (32, 64, 64),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 1, 2), "attention_head_dim": (2, 4, 4), "norm_num_groups": 8,
    "use_linear_projection": True,
}
TEXT_TIME = {"addition_embed_type": "text_time", "addition_time_embed_dim": 8}
VAE = {"block_out_channels": [16, 32, 32, 32], "in_channels": 3, "out_channels": 3, "layers_per_block": 1, "norm_num_groups": 8,
       "latent_channels": 4, "sample_size": 64, "scaling_factor": 0.13025, "force_upcast": True}
CLASSES = {
    "sd": {"text": "StableDiffusionPipeline", "image": "StableDiffusionImg2ImgPipeline", "inpaint": "StableDiffusionInpaintPipeline"},
    "sdxl": {"text": "StableDiffusionXLPipeline", "image": "StableDiffusionXLImg2ImgPipeline", "inpaint": "StableDiffusionXLInpaintPipeline"},
}
SCHEDULER = {"_class_name": "EulerDiscreteScheduler", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1,
             "timestep_spacing": "leading", "prediction_type": "epsilon"}
PROMPT, NEGATIVE = "a painting of a red squirrel, the cat & dog!", "blurry dog"


@dataclass
class Run:
    """One picture, or one for each of `seeds`. What is None is not given, which is not the same as an empty text or a zero."""

    name: str
    prompt: str = PROMPT
    negative: str | None = NEGATIVE
    steps: int = 4
    guidance: float = 5.0
    width: int = 64
    height: int = 64
    seed: int = 7
    scheduler: dict = field(default_factory=dict)  # keys in place of the model's own
    image: bool = True  # keep the decoded image too, the largest of the tensors
    seeds: list[int] = field(default_factory=list)  # in place of `seed`, all in one call
    work: str = "text"  # or "image", "inpaint"
    strength: float | None = None
    padding: int | None = None  # padding_mask_crop; the picture that comes out is kept as bytes
    picture: str = "small"  # which of the fixture's pictures it begins from
    clip_skip: int | None = None
    rescale: float | None = None


@dataclass
class Variation:
    """What differs from the base pipeline; `perturb` makes norms and biases random, which fresh networks leave at 1 and 0."""

    name: str
    runs: list[Run]
    family: str = "sdxl"  # or "sd", which has the first text encoder alone
    refiner: bool = False  # SDXL with the second text encoder alone, told a score
    pictures: dict = field(default_factory=dict)  # name: (width, height)
    text: dict = field(default_factory=dict)
    text_2: dict = field(default_factory=dict)
    unet: dict = field(default_factory=dict)
    vae: dict = field(default_factory=dict)
    scheduler: dict = field(default_factory=dict)
    force_zeros: bool = True
    perturb: bool = True
    quiet: float = 1.0  # scales the residual stream of the UNet down, so that the epsilons of its norms weigh more
    seed: int = 0
    # How the folder is stored.
    dtype: torch.dtype = torch.float16
    tokenizers: str = "single"  # or "pair", "both"
    text_prefix: bool = False  # `text_model.` before the names of the first text encoder, as transformers wrote until 5.5
    shards: bool = False
    encoder: bool = False  # keep the VAE's encoder, which only what begins from a picture needs
    tile: int | None = None  # decode and encode in tiles of this side too, of the pictures' sizes
    double: bool = False  # have the UNet and the VAE compute in double precision too


def tokenizer(folder: Path, pad: str) -> CLIPTokenizer:
    vocabulary.write_pair(folder)
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "bos_token": vocabulary.BEGIN, "eos_token": vocabulary.END,
              "unk_token": vocabulary.END, "pad_token": pad}
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")
    return CLIPTokenizer.from_pretrained(folder)


def text_encoder(cls, config: dict, seed: int):
    ids = vocabulary.tokens()
    torch.manual_seed(seed)
    base = {"bos_token_id": ids[vocabulary.BEGIN], "eos_token_id": ids[vocabulary.END], "pad_token_id": 1, "vocab_size": len(ids),
            "max_position_embeddings": 77, "layer_norm_eps": 1e-5}
    return cls(CLIPTextConfig(**(base | config)))


def perturb(module: torch.nn.Module, seed: int) -> None:
    """Norms and biases as a trained network would have them."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, p in sorted(module.named_parameters()):
            if p.dim() == 1:
                p += 0.2 * torch.randn(p.shape, generator=generator)


def quieten(unet: torch.nn.Module, scale: float) -> None:
    with torch.no_grad():
        for name, p in unet.named_parameters():
            if name.startswith("conv_in.") or ".conv2." in name or ".conv_shortcut." in name or ".proj_out." in name:
                p *= scale


def scheduler(v: Variation, run: Run | None = None):
    """The scheduler of the model, or of one picture. Not `from_config`, which drops every key that had its default before."""
    settings = SCHEDULER | v.scheduler | (run.scheduler if run else {})
    cls = getattr(diffusers, settings.pop("_class_name"))
    known = inspect.signature(cls.__init__).parameters
    return cls(**{key: value for key, value in settings.items() if key in known})


@torch.no_grad()
def build(v: Variation, work: Path) -> DiffusionPipeline:
    """The pipeline in fp32, its weights already rounded to what will be stored."""
    text, text_2 = TEXT | v.text, TEXT_2 | v.text_2
    parts = {}
    unet = UNET | v.unet
    if v.family == "sd":
        parts["text_encoder"] = text_encoder(CLIPTextModel, text, v.seed)
        unet.setdefault("cross_attention_dim", text["hidden_size"])
    else:
        unet = TEXT_TIME | unet
        if not v.refiner:
            parts["text_encoder"] = text_encoder(CLIPTextModel, text, v.seed)
        parts["text_encoder_2"] = text_encoder(CLIPTextModelWithProjection, text_2, v.seed + 1)
        unet.setdefault("cross_attention_dim", (0 if v.refiner else text["hidden_size"]) + text_2["hidden_size"])
        sizes = 5 if v.refiner else 6
        unet.setdefault("projection_class_embeddings_input_dim", sizes * unet["addition_time_embed_dim"] + text_2["projection_dim"])
    torch.manual_seed(v.seed + 2)
    if v.family == "sd":  # where diffusers looks for the last norm when layers are skipped; transformers 5 has no such level
        object.__setattr__(parts["text_encoder"], "text_model", parts["text_encoder"])
    parts["unet"] = UNet2DConditionModel(**unet)
    vae = VAE | v.vae
    levels = len(vae["block_out_channels"])
    vae |= {"down_block_types": ["DownEncoderBlock2D"] * levels, "up_block_types": ["UpDecoderBlock2D"] * levels}
    torch.manual_seed(v.seed + 3)
    parts["vae"] = AutoencoderKL(**vae)
    for i, module in enumerate(parts.values()):
        module.eval()  # but with gradients, as `from_pretrained` leaves it: libtorch multiplies other matrices otherwise
        if v.perturb:
            perturb(module, v.seed + 10 + i)
    if v.quiet != 1.0:
        quieten(parts["unet"], v.quiet)
    for module in parts.values():
        for p in module.parameters():
            p.copy_(p.to(v.dtype).to(torch.float32))
    if v.family == "sd":
        more = {"tokenizer": tokenizer(work / "tokenizer", vocabulary.END), "safety_checker": None, "feature_extractor": None,
                "requires_safety_checker": False}
    else:
        more = {"text_encoder": None, "tokenizer": None, "tokenizer_2": tokenizer(work / "tokenizer_2", "!"),
                "force_zeros_for_empty_prompt": v.force_zeros}
        if not v.refiner:
            more |= {"text_encoder": parts["text_encoder"], "tokenizer": tokenizer(work / "tokenizer", vocabulary.END)}
    # 9-channel models come as pipelines for inpainting, refiners as those for pictures.
    own = "inpaint" if parts["unet"].config.in_channels == 9 else "image" if v.refiner else "text"
    if v.refiner:
        more["requires_aesthetics_score"] = True
    return quiet_pipeline(CLASSES[v.family][own], parts | more | {"scheduler": scheduler(v)})


def quiet_pipeline(name: str, parts: dict) -> DiffusionPipeline:
    cls = getattr(diffusers, name)
    known = inspect.signature(cls.__init__).parameters
    parts = parts | ({"add_watermarker": False} if "add_watermarker" in known else {})
    pipeline = cls(**{key: value for key, value in parts.items() if key in known})
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def rewrite(path: Path, change) -> None:
    """Changes the tensors of a safetensors file."""
    save_file({name: t.contiguous() for name, t in change(load_file(path)).items()}, path, metadata={"format": "pt"})


def store(v: Variation, pipeline: DiffusionPipeline, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    pipeline.save_pretrained(folder, safe_serialization=True)
    for path in folder.rglob("*.safetensors"):
        rewrite(path, lambda tensors: {n: t.to(v.dtype) if t.is_floating_point() else t for n, t in tensors.items()})
    text = folder / "text_encoder" / "model.safetensors"
    if v.text_prefix and text.exists():
        rewrite(text, lambda ts: {n if n.startswith("text_model.") else f"text_model.{n}": t for n, t in ts.items()})
    if not v.encoder:
        keep = ("decoder.", "post_quant_conv.")
        rewrite(folder / "vae" / "diffusion_pytorch_model.safetensors", lambda ts: {n: t for n, t in ts.items() if n.startswith(keep)})
    if v.shards:
        shard(folder / "unet" / "diffusion_pytorch_model.safetensors")
    for name in ("tokenizer", "tokenizer_2"):
        if not (folder / name).exists():
            continue
        if v.tokenizers in ("pair", "both"):
            vocabulary.write_pair(folder / name)
        if v.tokenizers == "pair":
            (folder / name / "tokenizer.json").unlink()


def shard(path: Path, count: int = 3) -> None:
    """One file into several and an index, as `save_pretrained(max_shard_size=…)` leaves them."""
    tensors = load_file(path)
    names, where = sorted(tensors), {}
    for i in range(count):
        part = f"{path.stem}-{i + 1:05}-of-{count:05}.safetensors"
        mine = names[i::count]
        save_file({n: tensors[n] for n in mine}, path.with_name(part), metadata={"format": "pt"})
        where |= dict.fromkeys(mine, part)
    size = sum(t.numel() * t.element_size() for t in tensors.values())
    index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(where.items()))}
    path.with_name(path.name + ".index.json").write_text(json.dumps(index, indent=1) + "\n")
    path.unlink()


@torch.no_grad()
def picture(pipeline: DiffusionPipeline, v: Variation, run: Run, folder: Path) -> dict[str, torch.Tensor]:
    """Every step's latents and the image, from the noise of the run's seed."""
    dump = {}

    def keep(_pipeline, i, _t, arguments):
        dump[f"latents.{i}"] = arguments["latents"].clone()
        return arguments

    generators = [torch.Generator("cpu").manual_seed(seed) for seed in run.seeds or [run.seed]]
    arguments = {"num_inference_steps": run.steps, "guidance_scale": run.guidance, "callback_on_step_end": keep,
                 "num_images_per_prompt": len(generators), "generator": generators if run.seeds else generators[0],
                 "output_type": "pil" if run.padding is not None else "pt", "clip_skip": run.clip_skip}
    if run.work == "text":
        arguments |= {"width": run.width, "height": run.height}
    else:
        begin = Image.open(folder / f"{run.picture}.png")
        if run.work == "inpaint":
            mask = Image.open(folder / f"{run.picture}-mask.png")
            arguments |= {"width": run.width, "height": run.height, "mask_image": mask, "padding_mask_crop": run.padding}
        else:  # which takes its size from the picture
            begin = begin.resize((run.width, run.height), Image.Resampling.LANCZOS)
        arguments |= {"image": begin} | ({} if run.strength is None else {"strength": run.strength})
    if run.rescale is not None:
        arguments["guidance_rescale"] = run.rescale
    parts = {key: value for key, value in pipeline.components.items() if key != "scheduler"}
    settings = {key: value for key, value in pipeline.config.items() if key in ("force_zeros_for_empty_prompt", "requires_aesthetics_score")}
    own = quiet_pipeline(CLASSES[v.family][run.work], parts | settings | {"scheduler": scheduler(v, run), "requires_safety_checker": False})
    made = own(run.prompt, negative_prompt=run.negative, **arguments).images
    if run.padding is not None:
        dump["bytes"] = torch.stack([pictures.to_tensor(image) for image in made])
    elif run.image:
        dump["image"] = made
    return dump


@torch.no_grad()
def modules(pipeline: DiffusionPipeline, v: Variation, folder: Path) -> dict[str, torch.Tensor]:
    """What each network makes by itself of known inputs."""
    dump, run = {}, v.runs[0]
    tokenizers = [getattr(pipeline, name, None) for name in ("tokenizer", "tokenizer_2")]
    for i, tok in enumerate([tok for tok in tokenizers if tok is not None], 1):
        for name, text in (("prompt", run.prompt), ("negative", run.negative or "")):
            call = tok(text, padding="max_length", max_length=77, truncation=True, return_tensors="pt")
            dump[f"{name}.ids.{i}"] = call.input_ids
    call = {"device": "cpu", "num_images_per_prompt": 1, "do_classifier_free_guidance": True}
    embeds = pipeline.encode_prompt(prompt=run.prompt, negative_prompt=run.negative or "", **call)
    for name, tensor in zip(("prompt.embeds", "negative.embeds", "prompt.pooled", "negative.pooled"), embeds):
        dump[name] = tensor
    factor, config = pipeline.vae_scale_factor, pipeline.unet.config
    shape = (1, config.in_channels, run.height // factor, run.width // factor)
    latents = torch.randn(shape, generator=torch.Generator("cpu").manual_seed(run.seed))
    dump["noise"] = latents
    if v.family == "sdxl":
        sizes = [run.height, run.width, 0, 0] + ([6.0] if v.refiner else [run.height, run.width])
        dump["time_ids"] = torch.tensor([sizes], dtype=torch.float32)
    if config.time_cond_proj_dim is not None:
        dump["unet.cond"] = pipeline.get_guidance_scale_embedding(torch.tensor([run.guidance - 1]), embedding_dim=config.time_cond_proj_dim)
    out = networks(pipeline, v, folder, dump, torch.float32)
    if v.double:
        dump |= in_double((pipeline.unet, pipeline.vae), lambda: networks(pipeline, v, folder, dump | out, torch.float64))
    return dump | out


def in_double(modules: tuple[torch.nn.Module, ...], compute) -> dict[str, torch.Tensor]:
    """What `compute` gives when these compute in double precision, each as `.double`."""
    for module in modules:
        module.double()
    exact = compute()
    for module in modules:
        module.float()
    return {f"{name}.double": tensor.float() for name, tensor in exact.items()}


@torch.no_grad()
def networks(pipeline: DiffusionPipeline, v: Variation, folder: Path, known: dict[str, torch.Tensor], dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """What the UNet and both halves of the VAE, which compute in `dtype`, make of what is known."""
    def told(name: str) -> torch.Tensor | None:
        return known[name].to(dtype) if name in known else None

    dump, latents, vae, factor = {}, told("noise"), pipeline.vae, pipeline.vae_scale_factor
    added = {"text_embeds": told("prompt.pooled"), "time_ids": told("time_ids")} if v.family == "sdxl" else None
    for t in (500.0, 961.25):
        out = pipeline.unet(latents, torch.tensor(t, dtype=dtype), encoder_hidden_states=told("prompt.embeds"), added_cond_kwargs=added,
                            timestep_cond=told("unet.cond")).sample
        dump[f"unet.{t}"] = out
    latents = latents[:, :vae.config.latent_channels] / vae.config.scaling_factor
    dump["vae"] = vae.decode(latents).sample
    for name in v.pictures:
        pixels = pictures.to_tensor(Image.open(folder / f"{name}.png"))[None].permute(0, 3, 1, 2).to(dtype) / 255.0 * 2.0 - 1.0
        pixels = pixels[..., :pixels.shape[-2] // factor * factor, :pixels.shape[-1] // factor * factor]
        encoded = vae.encode(pixels).latent_dist
        dump |= {f"{name}.mean": encoded.mean, f"{name}.logvar": encoded.logvar}
        if v.tile:
            vae.enable_tiling()
            vae.tile_sample_min_size, vae.tile_latent_min_size = v.tile, v.tile // factor
            dump[f"{name}.tiled.mean"] = vae.encode(pixels).latent_dist.mean
            mean = encoded.mean if f"{name}.mean" not in known else told(f"{name}.mean")
            dump[f"{name}.tiled"] = vae.decode(mean.contiguous()).sample
            vae.disable_tiling()
    return dump


def write(v: Variation, root: Path) -> int:
    """The folder of one variation: `model/`, `runs.json`, `expected.safetensors`, its pictures. The bytes it takes."""
    folder = root / v.name
    folder.mkdir(parents=True, exist_ok=True)
    pictures.write(v.pictures, folder, v.seed)
    with tempfile.TemporaryDirectory() as work:
        pipeline = build(v, Path(work))
        store(v, pipeline, folder / "model")
        expected = modules(pipeline, v, folder)
        for run in v.runs:
            expected |= {f"{run.name}.{key}": tensor for key, tensor in picture(pipeline, v, run, folder).items()}
    if not all(t.isfinite().all() for t in expected.values()):
        raise ValueError(f"{v.name}: a number is not finite")
    save_file({name: t.contiguous() for name, t in expected.items()}, folder / "expected.safetensors")
    runs = [{key: value for key, value in vars(run).items() if value not in (None, {}, [])} for run in v.runs]
    (folder / "runs.json").write_text(json.dumps(runs, indent=1) + "\n")
    (folder / "fixture.json").write_text(json.dumps({"family": v.family, "pictures": list(v.pictures), "tile": v.tile}) + "\n")
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
