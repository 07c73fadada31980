#!/usr/bin/env python3
"""Make the single files that `make bench-engine` measures, in the names that Stability's own code gives its tensors.

`--model FOLDER` writes an SDXL-shaped model of `make_models.py` as one file into its own folder, so that it goes with it.
`--whole` writes what a real SDXL checkpoint has, every name and shape in half precision, with holes for data: 7 GB that take
no room on the disk. What is there already is left alone. Prints the file.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
warnings.filterwarnings("ignore")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "parity"))

import torch  # noqa: E402
from diffusers import AutoencoderKL, UNet2DConditionModel  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection  # noqa: E402

import single_files  # noqa: E402

WEIGHTS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model",
           "text_encoder_2": "model"}
Tensors = dict[str, torch.Tensor]


def as_file(parts: dict[str, Tensors], layers: int, levels: int) -> Tensors:
    """The tensors of an SDXL model under the names of a single file."""
    prefixed = single_files.prefixed
    file = prefixed("model.diffusion_model.", {single_files.unet(n, layers): t for n, t in parts["unet"].items()})
    for name, tensor in parts["vae"].items():
        # There attention is a convolution over single pixels.
        pixels = tensor[:, :, None, None] if ".attentions." in name and tensor.dim() == 2 else tensor
        file["first_stage_model." + single_files.vae(name, levels)] = pixels
    first = {n if n.startswith("text_model.") else f"text_model.{n}": t for n, t in parts["text_encoder"].items()}
    file |= prefixed("conditioner.embedders.0.transformer.", first)
    return file | prefixed("conditioner.embedders.1.model.", single_files.openclip(parts["text_encoder_2"]))


def of_folder(model: Path) -> Path:
    out = model / "single" / "model.safetensors"
    if not out.is_file():
        config = {name: json.loads((model / name / "config.json").read_text()) for name in WEIGHTS}
        parts = {name: load_file(model / name / f"{weights}.safetensors") for name, weights in WEIGHTS.items()}
        file = as_file(parts, config["unet"]["layers_per_block"], len(config["vae"]["block_out_channels"]))
        out.parent.mkdir(exist_ok=True)
        part = out.with_suffix(f".{os.getpid()}.part")
        save_file({name: tensor.contiguous() for name, tensor in file.items()}, part)
        part.rename(out)
    return out


def shapes() -> Tensors:
    """What stable-diffusion-xl-base-1.0 has, without data."""
    clip = {"vocab_size": 49408, "max_position_embeddings": 77}
    with torch.device("meta"):
        parts = {
            "unet": UNet2DConditionModel(
                sample_size=128, block_out_channels=(320, 640, 1280), layers_per_block=2, cross_attention_dim=2048,
                down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
                up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
                transformer_layers_per_block=(1, 2, 10), attention_head_dim=(5, 10, 20), use_linear_projection=True,
                addition_embed_type="text_time", addition_time_embed_dim=256,
                projection_class_embeddings_input_dim=2816),
            "vae": AutoencoderKL(
                block_out_channels=(128, 256, 512, 512), layers_per_block=2, latent_channels=4,
                down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4),
            "text_encoder": CLIPTextModel(CLIPTextConfig(
                hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072, **clip)),
            "text_encoder_2": CLIPTextModelWithProjection(CLIPTextConfig(
                hidden_size=1280, num_hidden_layers=32, num_attention_heads=20, intermediate_size=5120,
                projection_dim=1280, **clip)),
        }
        return as_file({name: part.state_dict() for name, part in parts.items()}, layers=2, levels=4)


def whole(out: Path) -> Path:
    if not out.is_file():
        header, end = {"__metadata__": {"format": "pt"}}, 0
        for name, tensor in shapes().items():
            begin, end = end, end + 2 * tensor.numel()
            header[name] = {"dtype": "F16", "shape": list(tensor.shape), "data_offsets": [begin, end]}
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        part = out.with_suffix(f".{os.getpid()}.part")
        with part.open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            file.truncate(8 + len(text) + end)
        part.rename(out)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--model", type=Path, metavar="FOLDER", help="an SDXL-shaped model in diffusers layout")
    which.add_argument("--whole", type=Path, metavar="FILE", help="where the checkpoint with holes for data goes")
    arguments = parser.parse_args()
    print(of_folder(arguments.model) if arguments.model else whole(arguments.whole))


if __name__ == "__main__":
    main()
