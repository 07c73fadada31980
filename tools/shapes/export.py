"""Put the parts together: a diffusers SDXL folder in fp16 from the VAE and the averaged weights of train.py."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import diffusers
import torch
from diffusers import AutoencoderKL

import model
import text
import train

INDEX = {
    "_class_name": "StableDiffusionXLPipeline",
    "_diffusers_version": diffusers.__version__,
    "feature_extractor": [None, None],
    "force_zeros_for_empty_prompt": True,
    "image_encoder": [None, None],
    "scheduler": ["diffusers", "EulerDiscreteScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "tokenizer_2": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--vae", type=Path, required=True, help="folder of the trained VAE")
    p.add_argument("--checkpoint", type=Path, required=True, help="train.pt of train.py")
    p.add_argument("--out", type=Path, required=True, help="folder of the model, such as models/shapes")
    p.add_argument("--live", action="store_true", help="the last weights instead of their average")
    a = p.parse_args()

    state = torch.load(a.checkpoint, weights_only=True)
    painter = train.Painter()
    painter.load_state_dict(state["painter" if a.live else "ema"])
    a.out.mkdir(parents=True, exist_ok=True)
    parts = {
        "text_encoder": painter.one,
        "text_encoder_2": painter.two,
        "unet": painter.unet,
        "vae": AutoencoderKL.from_pretrained(a.vae, low_cpu_mem_usage=False),
    }
    for name, part in parts.items():
        part.half().save_pretrained(a.out / name)
    for config in a.out.glob("*/config.json"):  # where a part was on the trainer's disk is nobody's business
        settings = json.loads(config.read_text())
        settings.pop("_name_or_path", None)
        config.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")
    model.scheduler().save_pretrained(a.out / "scheduler")
    text.write_tokenizers(a.out)
    (a.out / "model_index.json").write_text(json.dumps(INDEX, indent=2) + "\n")
    size = sum(f.stat().st_size for f in a.out.glob("**/*.safetensors"))
    print(f"{a.out}: {size / 1e6:.2f} MB of weights after {state['seen']} pictures ({state['step']} steps)")


if __name__ == "__main__":
    main()
