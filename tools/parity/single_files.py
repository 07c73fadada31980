#!/usr/bin/env python3
"""Write the pipeline of a fixture as the single file that Stability's own code would have, for the tests of crates/engine.

The names are turned around here by the rules of diffusers' conversion scripts, and turned back by diffusers' own loader for
single files: the file is written only if every tensor is again what it was.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from types import SimpleNamespace

import torch
from diffusers.loaders import single_file_utils as loader
from safetensors.torch import load_file, save_file

RESNET = {"norm1": "in_layers.0", "conv1": "in_layers.2", "norm2": "out_layers.0", "conv2": "out_layers.3",
          "time_emb_proj": "emb_layers.1", "conv_shortcut": "skip_connection"}
OUTER = {"time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2", "add_embedding.linear_1": "label_emb.0.0",
         "add_embedding.linear_2": "label_emb.0.2", "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2"}
VAE = [(r"down_blocks\.(\d+)\.resnets\.", r"down.\1.block."), (r"down_blocks\.(\d+)\.downsamplers\.0\.", r"down.\1.downsample."),
       ("mid_block.resnets.0.", "mid.block_1."), ("mid_block.resnets.1.", "mid.block_2."), ("mid_block.attentions.0.group_norm.", "mid.attn_1.norm."),
       (r"mid_block\.attentions\.0\.to_([qkv])\.", r"mid.attn_1.\1."), (r"mid_block\.attentions\.0\.to_out\.0\.", "mid.attn_1.proj_out."),
       ("conv_shortcut", "nin_shortcut"), ("conv_norm_out", "norm_out")]
OPENCLIP = [("encoder.layers.", "transformer.resblocks."), (".layer_norm1.", ".ln_1."), (".layer_norm2.", ".ln_2."), (".mlp.fc1.", ".mlp.c_fc."),
            (".mlp.fc2.", ".mlp.c_proj."), (".self_attn.out_proj.", ".attn.out_proj."), ("embeddings.token_embedding.", "token_embedding."),
            ("embeddings.position_embedding.weight", "positional_embedding"), ("final_layer_norm.", "ln_final.")]


def unet(name: str, layers: int) -> str:
    place = re.fullmatch(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)", name)
    if place:
        way, level, what, number, rest = place[1], int(place[2]), place[3], int(place[4]), place[5]
        per_level = layers + 1
        start = level * per_level + (1 if way == "down" else 0)
        blocks = "input_blocks" if way == "down" else "output_blocks"
        if what == "resnets":
            part, end = rest.split(".", 1)
            return f"{blocks}.{start + number}.0.{RESNET[part]}.{end}"
        if what == "attentions":
            return f"{blocks}.{start + number}.1.{rest}"
        if what == "downsamplers":
            return f"{blocks}.{start + layers}.0.op.{rest.removeprefix('conv.')}"
        return f"{blocks}.{start + layers}.2.{rest}"
    middle = re.fullmatch(r"mid_block\.(resnets|attentions)\.(\d+)\.(.+)", name)
    if middle and middle[1] == "resnets":
        part, end = middle[3].split(".", 1)
        return f"middle_block.{2 * int(middle[2])}.{RESNET[part]}.{end}"
    if middle:
        return f"middle_block.1.{middle[3]}"
    start, end = name.rsplit(".", 1)
    return f"{OUTER[start]}.{end}"


def vae(name: str, levels: int) -> str:
    name = re.sub(r"up_blocks\.(\d+)\.resnets\.", lambda m: f"up.{levels - 1 - int(m[1])}.block.", name)
    name = re.sub(r"up_blocks\.(\d+)\.upsamplers\.0\.", lambda m: f"up.{levels - 1 - int(m[1])}.upsample.", name)
    for pattern, to in VAE:
        name = re.sub(pattern, to, name)
    return name


def openclip(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    out = {}
    for name, tensor in tensors.items():
        if name == "text_projection.weight":
            out["text_projection"] = tensor.T.contiguous()
            continue
        name = name.removeprefix("text_model.")
        fused = re.fullmatch(r"(encoder\.layers\.\d+\.)self_attn\.([qkv])_proj\.(weight|bias)", name)
        for pattern, to in OPENCLIP:
            name = name.replace(pattern, to)
        if not fused:
            out[name] = tensor
        elif fused[2] == "q":
            rows = [tensors[f"text_model.{fused[1]}self_attn.{p}_proj.{fused[3]}"] for p in "qkv"]
            out[f"{fused[1].replace('encoder.layers.', 'transformer.resblocks.')}attn.in_proj_{fused[3]}"] = torch.cat(rows)
    return out


def prefixed(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def same(what: str, ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    theirs = {name: tensor for name, tensor in theirs.items() if tensor is not None}
    wrong = [name for name in ours.keys() | theirs.keys() if name not in ours or name not in theirs or not torch.equal(ours[name], theirs[name])]
    if wrong:
        raise ValueError(f"{what}: diffusers reads {len(wrong)} tensors otherwise, {sorted(wrong)[0]} for one")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="a fixture's folder, SDXL-shaped, as many layers on every level")
    parser.add_argument("--out", type=Path, required=True, help="the file to write")
    arguments = parser.parse_args()
    model = arguments.model
    config = {name: json.loads((model / name / "config.json").read_text()) for name in ("unet", "vae", "text_encoder_2")}
    parts = {"unet": load_file(model / "unet/diffusion_pytorch_model.safetensors"), "vae": load_file(model / "vae/diffusion_pytorch_model.safetensors"),
             "text_encoder": load_file(model / "text_encoder/model.safetensors"), "text_encoder_2": load_file(model / "text_encoder_2/model.safetensors")}
    levels = len(config["vae"]["block_out_channels"])
    file = prefixed("model.diffusion_model.", {unet(n, config["unet"]["layers_per_block"]): t for n, t in parts["unet"].items()})
    as_pixels = lambda n, t: t[:, :, None, None] if ".attentions." in n and t.dim() == 2 else t  # noqa: E731
    file |= prefixed("first_stage_model.", {vae(n, levels): as_pixels(n, t) for n, t in parts["vae"].items()})
    first = {n if n.startswith("text_model.") else f"text_model.{n}": t for n, t in parts["text_encoder"].items()}
    file |= prefixed("conditioner.embedders.0.transformer.", first)
    file |= prefixed("conditioner.embedders.1.model.", openclip(parts["text_encoder_2"]))

    same("unet", parts["unet"], loader.convert_ldm_unet_checkpoint(dict(file), config["unet"]))
    same("vae", parts["vae"], loader.convert_ldm_vae_checkpoint(dict(file), config["vae"]))
    same("text_encoder", first, loader.convert_ldm_clip_checkpoint(dict(file)))
    shape = SimpleNamespace(config=SimpleNamespace(hidden_size=config["text_encoder_2"]["hidden_size"]))
    second = loader.convert_open_clip_checkpoint(shape, dict(file), prefix="conditioner.embedders.1.model.")
    same("text_encoder_2", parts["text_encoder_2"], {n: t for n, t in second.items()})
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    save_file({n: t.contiguous() for n, t in file.items()}, arguments.out)
    print(f"{arguments.out}: {len(file)} tensors, {arguments.out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
