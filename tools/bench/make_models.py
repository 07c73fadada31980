#!/usr/bin/env python3
"""Make the models that `make bench-engine` measures: the families in small, with random weights.

Each has the levels, blocks, head sizes and attention of its family at about half the width and less depth, so that a
step takes about a second on two cores, and is stored in the number type that people's files of that family have. What
is there already is left alone. Prints the folder.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
import warnings
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
warnings.filterwarnings("ignore")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "parity"))

import diffusers  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from diffusers import (  # noqa: E402
    AutoencoderKL, EulerDiscreteScheduler, FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel,
    StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel)
from transformers import (  # noqa: E402
    CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer, T5Config, T5EncoderModel, T5Tokenizer)

import vocabulary  # noqa: E402

SCHEDULER = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1,
             "timestep_spacing": "leading"}
PIECES = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0),
          *((c, -6.0 - i * 0.01) for i, c in enumerate("abcdefghijklmnopqrstuvwxyz0123456789.,!?'-&"))]


def clip_tokenizer(work: Path, pad: str) -> CLIPTokenizer:
    vocabulary.write_pair(work)
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "bos_token": vocabulary.BEGIN,
              "eos_token": vocabulary.END, "unk_token": vocabulary.END, "pad_token": pad}
    (work / "tokenizer_config.json").write_text(json.dumps(config) + "\n")
    return CLIPTokenizer.from_pretrained(work)


def clip(cls, width: int, layers: int, **more):
    ids = vocabulary.tokens()
    return cls(CLIPTextConfig(
        hidden_size=width, num_hidden_layers=layers, num_attention_heads=width // 64, intermediate_size=4 * width,
        bos_token_id=ids[vocabulary.BEGIN], eos_token_id=ids[vocabulary.END], pad_token_id=1, vocab_size=len(ids),
        max_position_embeddings=77, **more))


def vae(**more) -> AutoencoderKL:
    return AutoencoderKL(**({
        "block_out_channels": [64, 128, 256, 256], "in_channels": 3, "out_channels": 3, "layers_per_block": 2,
        "latent_channels": 4, "down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4,
        "sample_size": 512} | more))


def sd(work: Path) -> StableDiffusionPipeline:
    unet = UNet2DConditionModel(
        sample_size=48, block_out_channels=(160, 320, 640, 640), layers_per_block=2, cross_attention_dim=384,
        attention_head_dim=8)
    return StableDiffusionPipeline(
        vae=vae(scaling_factor=0.18215), text_encoder=clip(CLIPTextModel, 384, 12, hidden_act="quick_gelu"), unet=unet,
        tokenizer=clip_tokenizer(work, vocabulary.END), scheduler=EulerDiscreteScheduler(**SCHEDULER),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False)


def sdxl(work: Path) -> StableDiffusionXLPipeline:
    unet = UNet2DConditionModel(
        sample_size=48, block_out_channels=(160, 320, 640), layers_per_block=2, cross_attention_dim=384 + 640,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), use_linear_projection=True,
        transformer_layers_per_block=(1, 2, 4), attention_head_dim=(5, 5, 10), addition_embed_type="text_time",
        addition_time_embed_dim=256, projection_class_embeddings_input_dim=6 * 256 + 640)
    return StableDiffusionXLPipeline(
        vae=vae(scaling_factor=0.13025, force_upcast=True), unet=unet, scheduler=EulerDiscreteScheduler(**SCHEDULER),
        text_encoder=clip(CLIPTextModel, 384, 12, hidden_act="quick_gelu"),
        text_encoder_2=clip(CLIPTextModelWithProjection, 640, 16, hidden_act="gelu", projection_dim=640),
        tokenizer=clip_tokenizer(work / "1", vocabulary.END), tokenizer_2=clip_tokenizer(work / "2", "!"),
        add_watermarker=False)


def flux(work: Path) -> FluxPipeline:
    words = T5Tokenizer(vocab=PIECES + [(f"<extra_id_{i}>", 0.0) for i in range(3, -1, -1)], extra_ids=4,
                        model_max_length=256)
    t5 = T5EncoderModel(T5Config(
        vocab_size=len(words), d_model=768, d_kv=64, d_ff=1920, num_layers=12, num_heads=12,
        relative_attention_num_buckets=32, relative_attention_max_distance=128, feed_forward_proj="gated-gelu",
        is_encoder_decoder=False, use_cache=False, tie_word_embeddings=False))
    transformer = FluxTransformer2DModel(
        patch_size=1, in_channels=64, num_layers=4, num_single_layers=8, attention_head_dim=128, num_attention_heads=6,
        joint_attention_dim=768, pooled_projection_dim=384, guidance_embeds=False, axes_dims_rope=(16, 56, 56))
    return FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=1.0, use_dynamic_shifting=False), transformer=transformer,
        vae=vae(latent_channels=16, use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.1159,
                scaling_factor=0.3611, force_upcast=True),
        text_encoder=clip(CLIPTextModel, 384, 12, hidden_act="quick_gelu", projection_dim=384),
        tokenizer=clip_tokenizer(work, vocabulary.END), text_encoder_2=t5, tokenizer_2=words)


MODELS = {"sd": (sd, torch.float32), "sdxl": (sdxl, torch.float16), "flux": (flux, torch.bfloat16)}


def make(name: str, folder: Path) -> None:
    """Into a folder beside it first, so that one that was stopped half way does not pass for a model."""
    build, dtype = MODELS[name]
    diffusers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    part = folder.with_name(f"{folder.name}.{os.getpid()}.part")
    work = part / "work"
    torch.manual_seed(0)
    pipeline = build(work).to(dtype)
    pipeline.save_pretrained(part, safe_serialization=True)
    shutil.rmtree(work)
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "easel" / "bench-models"
    parser.add_argument("--out", type=Path, default=cache, help="default: %(default)s")
    parser.add_argument("--only", nargs="*", choices=sorted(MODELS), default=sorted(MODELS))
    arguments = parser.parse_args()
    # Another recipe is another folder; the old one goes.
    recipe = hashlib.sha256(Path(__file__).read_bytes() + torch.__version__.encode()).hexdigest()[:12]
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in arguments.only:
        folder = arguments.out / f"{name}-{recipe}"
        if not (folder / "model_index.json").is_file():
            for old in arguments.out.glob(f"{name}-*"):
                shutil.rmtree(old)
            print(f"making {folder}", file=sys.stderr, flush=True)
            make(name, folder)
        print(json.dumps({"name": name, "folder": str(folder)}))


if __name__ == "__main__":
    main()
