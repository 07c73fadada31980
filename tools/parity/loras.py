#!/usr/bin/env python3
"""Tiny adapters in every spelling, and the weights that diffusers and PEFT fuse from them.

For each case: the adapter files, the stack (file and weights), the fused weights of a few parameters in full and sum and
sum of squares of all others that changed. Two references must agree before a case is written: diffusers' `load_lora_weights`,
`set_adapters` and `fuse_lora` (PEFT for its own files), and the formula of each kind of adapter in ten lines here. Where
diffusers refuses a kind (LoHa, LoKr, LoCon with a core, differences), PEFT's merge or the formula is the reference alone.
"""

from __future__ import annotations

import argparse
import hashlib
import inspect
import json
import math
import os
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch  # noqa: E402
from diffusers import StableDiffusionXLPipeline  # noqa: E402
from diffusers.loaders import lora_conversion_utils, lora_pipeline  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

import pipelines  # noqa: E402
import tiny_models  # noqa: E402

FULL = 3  # parameters that are stored in full for each component of a case
PROMPT, NEGATIVE = "a painting of the red cat", "a dog"


def chosen(text: str, one_in: int) -> bool:
    """The same layers every time, spread over the model."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") % one_in == 0


def generator(text: str) -> torch.Generator:
    return torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big"))


# ---- The layers of an adapter, before they are spelled: component, layer in diffusers' names, factors -----------------------


@dataclass
class Layer:
    component: str
    name: str
    weight: torch.Tensor
    tensors: dict = field(default_factory=dict)  # by kind: up, down, mid, hada_w1_a, …
    alpha: float | None = None

    @property
    def scale(self) -> float:
        t = self.tensors
        rank = next((t[k].shape[0] for k in ("down", "hada_w1_b", "lokr_w2_b", "lokr_w1_b") if k in t), None)
        return 1.0 if rank is None or self.alpha is None else self.alpha / rank

    def delta(self) -> torch.Tensor:
        """The change at scale 1, in double precision: the formula of its kind."""
        t = {k: v.double() for k, v in self.tensors.items()}
        if "mid" in t:
            return torch.einsum("oaxy,abkl,bixy->oikl", t["up"], t["mid"], t["down"])
        if "down" in t:
            return (t["up"].flatten(1) @ t["down"].flatten(1)).reshape(self.weight.shape)
        if "hada_t1" in t:
            one, two = (torch.einsum("ijkl,jn,io->onkl", t[f"hada_t{i}"], t[f"hada_w{i}_b"], t[f"hada_w{i}_a"]) for i in (1, 2))
            return one * two
        if "hada_w1_a" in t:
            return ((t["hada_w1_a"] @ t["hada_w1_b"]) * (t["hada_w2_a"] @ t["hada_w2_b"])).reshape(self.weight.shape)
        if "diff" in t:
            return t["diff"]
        left = t["lokr_w1"] if "lokr_w1" in t else t["lokr_w1_a"] @ t["lokr_w1_b"]
        if "lokr_w2" in t:
            right = t["lokr_w2"]
        elif "lokr_t2" in t:
            right = torch.einsum("ijkl,jn,io->onkl", t["lokr_t2"], t["lokr_w2_b"], t["lokr_w2_a"])
        else:
            right = t["lokr_w2_a"] @ t["lokr_w2_b"]
        if right.dim() == 4:
            left = left[:, :, None, None]
        return torch.kron(left.contiguous(), right.contiguous()).reshape(self.weight.shape)


def half(shape: tuple, g: torch.Generator, size: float = 0.1) -> torch.Tensor:
    return (size * torch.randn(shape, generator=g)).to(torch.float16)


def draw(component: str, name: str, weight: torch.Tensor, seed: str, kind: str = "lora", alpha: float | None = None) -> Layer:
    g = generator(f"{seed} {component} {name}")
    layer = Layer(component, name, weight, alpha=alpha)
    out, inner, kernel = weight.shape[0], weight.shape[1], tuple(weight.shape[2:])
    rank = 1 + int(torch.randint(0, 3, (1,), generator=g))
    ones = (1,) * len(kernel)
    if kind in ("lora", "dora"):
        layer.tensors = {"up": half((out, rank, *ones), g), "down": half((rank, inner, *kernel), g)}
        if kind == "dora":
            length = (weight.double() + layer.delta() * layer.scale).flatten(1).norm(dim=1)
            layer.tensors["dora"] = (length * (1 + 0.2 * torch.randn(out, generator=g).double())).float()
    elif kind == "locon":
        layer.tensors = {"up": half((out, rank + 1, 1, 1), g), "mid": half((rank + 1, rank, *kernel), g, 0.5), "down": half((rank, inner, 1, 1), g)}
    elif kind == "loha" and len(kernel) == 2 and kernel[0] > 1:
        for i in (1, 2):
            layer.tensors |= {f"hada_t{i}": half((rank, rank, *kernel), g, 0.5), f"hada_w{i}_a": half((rank, out), g, 0.5),
                              f"hada_w{i}_b": half((rank, inner), g, 0.5)}
    elif kind == "loha":
        for i in (1, 2):
            layer.tensors |= {f"hada_w{i}_a": half((out, rank), g, 0.3), f"hada_w{i}_b": half((rank, inner * math.prod(kernel)), g, 0.3)}
    elif kind == "lokr":
        a, b = 4, 2
        left = {"lokr_w1": half((a, b), g)} if chosen(name, 2) else {"lokr_w1_a": half((a, rank), g), "lokr_w1_b": half((rank, b), g)}
        c, d = out // a, inner // b
        if len(kernel) == 2 and kernel[0] > 1:
            right = {"lokr_t2": half((rank, rank, *kernel), g), "lokr_w2_a": half((rank, c), g, 0.5), "lokr_w2_b": half((rank, d), g, 0.5)}
        elif chosen(name + "w2", 2):
            right = {"lokr_w2": half((c, d, *kernel), g)}
        else:
            right = {"lokr_w2_a": half((c, rank), g), "lokr_w2_b": half((rank, d * math.prod(kernel)), g)}
        layer.tensors = left | right
        if "lokr_w1_b" not in left and "lokr_w2_b" not in right:
            layer.alpha = None
    elif kind == "diff":
        layer.tensors = {"diff": half(tuple(weight.shape), g, 0.05)}
    return layer


# ---- Spellings ----------------------------------------------------------------------------------------------------------


def sgm_name(name: str, layers_per_block: int) -> str:
    """A UNet layer in Stability's names."""
    word = name.split(".")
    fixed = {"conv_in": "input_blocks.0.0", "conv_out": "out.2", "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
             "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2"}
    if name in fixed:
        return fixed[name]
    resnet = {"conv1": "in_layers.2", "conv2": "out_layers.3", "time_emb_proj": "emb_layers.1", "conv_shortcut": "skip_connection"}
    if word[0] == "mid_block":
        at = {"resnets": 2 * int(word[2]), "attentions": 1}[word[1]]
        return ".".join([f"middle_block.{at}", resnet.get(word[3], word[3]) if word[1] == "resnets" else ".".join(word[3:])])
    i, j = int(word[1]), int(word[3])
    if word[0] == "down_blocks":
        block = 1 + i * (layers_per_block + 1) + (j if word[2] != "downsamplers" else layers_per_block)
        head = f"input_blocks.{block}"
    else:
        block = i * (layers_per_block + 1) + (j if word[2] != "upsamplers" else layers_per_block)
        head = f"output_blocks.{block}"
    if word[2] == "downsamplers":
        return f"{head}.0.op"
    if word[2] == "upsamplers":
        return f"{head}.2.conv"
    if word[2] == "resnets":
        return f"{head}.0.{resnet[word[4]]}"
    return ".".join([f"{head}.1", *word[4:]])


FACTORS = {"up": "lora_up.weight", "down": "lora_down.weight", "mid": "lora_mid.weight", "dora": "dora_scale"}


def kohya(layers: list[Layer], rename=lambda layer: layer.name) -> dict:
    prefix = {"unet": "lora_unet_", "transformer": "lora_unet_", "text_encoder": "lora_te1_", "text_encoder_2": "lora_te2_"}
    file = {}
    for layer in layers:
        name = rename(layer)
        if layer.component.startswith("text") and not name.startswith("text_model."):
            name = f"text_model.{name}"
        stem = prefix[layer.component] + name.replace(".", "_")
        for kind, tensor in layer.tensors.items():
            file[f"{stem}.{FACTORS.get(kind, kind)}"] = tensor.reshape(-1, 1) if kind == "dora" else tensor
        if layer.alpha is not None:
            file[f"{stem}.alpha"] = torch.tensor(layer.alpha, dtype=torch.float16)
    return file


def sgm(layers: list[Layer], layers_per_block: int = 2) -> dict:
    return kohya(layers, lambda layer: sgm_name(layer.name, layers_per_block) if layer.component == "unet" else layer.name)


def modern(layers: list[Layer], prefix: bool = True) -> dict:
    """diffusers since PEFT."""
    file = {}
    for layer in layers:
        stem = f"{layer.component}.{layer.name}" if prefix else f"base_model.model.{layer.name}"
        for kind, tensor in layer.tensors.items():
            file[f"{stem}.{ {'up': 'lora_B.weight', 'down': 'lora_A.weight', 'dora': 'lora_magnitude_vector'}.get(kind, kind)}"] = (
                tensor.reshape(1, -1, 1, 1) if kind == "dora" and layer.weight.dim() == 4 else tensor)
    return file


def processors(layers: list[Layer]) -> dict:
    """diffusers before PEFT."""
    file = {}
    for layer in layers:
        if layer.component == "unet":
            before, _, last = layer.name.removesuffix(".0").rpartition(".")
            stem = f"unet.{before}.processor.{last}_lora"
        else:
            name = layer.name if layer.name.startswith("text_model.") else f"text_model.{layer.name}"
            stem = f"{layer.component}.{name}.lora_linear_layer"
            for new, old in (("q_proj", "to_q"), ("k_proj", "to_k"), ("v_proj", "to_v"), ("out_proj", "to_out")):
                if name.endswith(f".self_attn.{new}"):
                    stem = f"{layer.component}.{name.removesuffix(new)}{old}_lora"
        for kind, tensor in layer.tensors.items():
            file[f"{stem}.{kind}.weight"] = tensor
    return file


# FLUX in the names of its makers: name, the layers of diffusers that lie below each other in it.
DOUBLE = {"img_mod.lin": ["norm1.linear"], "txt_mod.lin": ["norm1_context.linear"], "img_attn.proj": ["attn.to_out.0"], "txt_attn.proj": ["attn.to_add_out"],
          "img_mlp.0": ["ff.net.0.proj"], "img_mlp.2": ["ff.net.2"], "txt_mlp.0": ["ff_context.net.0.proj"], "txt_mlp.2": ["ff_context.net.2"],
          "img_attn.qkv": ["attn.to_q", "attn.to_k", "attn.to_v"], "txt_attn.qkv": ["attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"]}
SINGLE = {"modulation.lin": ["norm.linear"], "linear2": ["proj_out"], "linear1": ["attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"]}
OUTSIDE = {"img_in": ["x_embedder"], "txt_in": ["context_embedder"], "time_in.in_layer": ["time_text_embed.timestep_embedder.linear_1"],
           "vector_in.out_layer": ["time_text_embed.text_embedder.linear_2"], "guidance_in.in_layer": ["time_text_embed.guidance_embedder.linear_1"],
           "final_layer.linear": ["proj_out"], "final_layer.adaLN_modulation.1": ["norm_out.linear"]}


def bfl_layers(transformer, seed: str, alpha: float | None, one_in: int, names=lambda name: True) -> list[tuple[str, list[Layer], Layer]]:
    """Adapter layers on the fused projections: name, what each part of diffusers gets, and the whole."""
    weights = {n.removesuffix(".weight"): p for n, p in transformer.named_parameters() if n.endswith(".weight")}
    tables = [(f"double_blocks.{i}.", f"transformer_blocks.{i}.", DOUBLE) for i in range(2)]
    tables += [(f"single_blocks.{i}.", f"single_transformer_blocks.{i}.", SINGLE) for i in range(2)] + [("", "", OUTSIDE)]
    result = []
    for original, known, table in tables:
        for name, parts in table.items():
            if not names(original + name) or not chosen(f"{seed} {original}{name}", one_in):
                continue
            targets = [known + part for part in parts]
            whole = draw("transformer", original + name, torch.cat([weights[t] for t in targets]).detach(), seed, alpha=alpha)
            rows = [weights[t].shape[0] for t in targets]
            ups = whole.tensors["up"].split(rows)
            if name == "final_layer.adaLN_modulation.1":
                ups = [torch.cat(whole.tensors["up"].chunk(2)[::-1])]
            pieces = [Layer("transformer", t, weights[t], {"up": up, "down": whole.tensors["down"]}, alpha) for t, up in zip(targets, ups)]
            result.append((original + name, pieces, whole))
    return result


# ---- Cases --------------------------------------------------------------------------------------------------------------


def networks(pipeline) -> dict:
    names = ("unet", "transformer", "text_encoder", "text_encoder_2")
    return {n: getattr(pipeline, n) for n in names if getattr(pipeline, n, None) is not None}


def linear(pipeline, seed: str, one_in: int, kind: str = "lora", alpha: float | None = None, components=None, wanted=lambda n, p: p.dim() >= 2,
           text_alpha="same") -> list[Layer]:
    """Layers drawn from those of the pipeline."""
    layers = []
    for component, network in networks(pipeline).items():
        if components and component not in components:
            continue
        for name, p in network.named_parameters():
            inside = "encoder.layers" in name or not component.startswith("text")
            if name.endswith(".weight") and inside and p.dim() >= 2 and wanted(name, p) and chosen(f"{seed} {component} {name}", one_in):
                a = alpha if text_alpha == "same" or not component.startswith("text") else text_alpha
                layers.append(draw(component, name.removesuffix(".weight"), p.detach(), seed, kind, a))
    return layers


class Suite:
    def __init__(self, out: Path):
        self.out, self.cases = out, []
        out.mkdir(parents=True, exist_ok=True)

    def file(self, name: str, tensors: dict, metadata: dict | None = None) -> str:
        path = self.out / "files" / f"{name}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({k: v.contiguous() for k, v in tensors.items()}, path, metadata=metadata)
        return f"{name}.safetensors"

    def case(self, name: str, family: str, stack: list, before: dict, after: dict) -> None:
        """`stack` is (file, weight, text weight); before and after are parameters by component."""
        full, sums = {}, {}
        for component, theirs in after.items():
            changed = [n for n, t in theirs.items() if not torch.equal(t, before[component][n])]
            keep = sorted(changed, key=lambda n: hashlib.sha256(n.encode()).digest())
            small = [n for n in keep if theirs[n].numel() <= 2048]
            keep = (small or sorted(keep, key=lambda n: theirs[n].numel())[:1])[:FULL]
            full |= {f"{component}.{n}": theirs[n] for n in keep}
            sums[component] = {n: [float(theirs[n].double().sum()), float(theirs[n].double().square().sum())] for n in sorted(changed)}
        save_file({n: t.contiguous() for n, t in full.items()}, self.out / f"{name}.safetensors")
        loras = [{"path": f, "weight": w, "text_encoder_weight": t} for f, w, t in stack]
        self.cases.append({"name": name, "family": family, "loras": loras, "sums": sums})


def parameters(pipeline) -> dict:
    return {c: {n: p.detach().clone() for n, p in network.named_parameters()} for c, network in networks(pipeline).items()}


def formula(before: dict, stack: list[tuple[list[Layer], float, float]]) -> dict:
    """The fused parameters as the kinds of adapters are defined, in double precision and rounded once."""
    after = {c: {n: t.double() for n, t in ts.items()} for c, ts in before.items()}
    for layers, weight, text in stack:
        for layer in layers:
            w = text if layer.component.startswith("text") else weight
            name = f"{layer.name}.weight"
            sum_ = after[layer.component][name] + w * layer.scale * layer.delta().reshape(layer.weight.shape)
            if "dora" in layer.tensors:
                shape = (-1,) + (1,) * (sum_.dim() - 1)
                sum_ = sum_ * (layer.tensors["dora"].double() / sum_.flatten(1).norm(dim=1)).reshape(shape)
            after[layer.component][name] = sum_
    return {c: {n: t.float() for n, t in ts.items()} for c, ts in after.items()}


def fused(make, files: list[tuple[Path, float, float]]) -> dict:
    """The fused parameters of diffusers, under the names they had."""
    pipeline = make()
    names = []
    for i, (path, _, _) in enumerate(files):
        pipeline.load_lora_weights(str(path.parent), weight_name=path.name, adapter_name=f"a{i}")
        names.append(f"a{i}")
    parts = [c for c in networks(pipeline) if hasattr(getattr(pipeline, c), "peft_config")]
    weights = [{c: (t if c.startswith("text") else w) for c in parts} for _, w, t in files]
    pipeline.set_adapters(names, adapter_weights=weights)
    pipeline.fuse_lora(components=parts, adapter_names=names)
    pipeline.unload_lora_weights()
    return {c: {n.replace(".base_layer.", "."): p.detach().clone() for n, p in network.named_parameters() if "lora_" not in n}
            for c, network in networks(pipeline).items()}


def agree(name: str, theirs: dict, ours: dict, limit: float = 5e-7) -> None:
    for component, tensors in ours.items():
        for n, t in tensors.items():
            difference = float((theirs[component][n] - t).abs().max())
            if not difference <= limit:
                raise ValueError(f"{name}: the references differ by {difference:.1e} in {component}.{n}")


def is_attention(name: str, _p) -> bool:
    return any(name.endswith(f"{x}.weight") for x in ("to_q", "to_k", "to_v", "to_out.0", "q_proj", "v_proj", "out_proj", "fc1"))


def write_pictures(suite: Suite, name: str, make, files: list, **call) -> None:
    """The picture of a fused pipeline."""
    pipeline = make()
    names = [f"a{i}" for i in range(len(files))]
    for n, (path, _, _) in zip(names, files):
        pipeline.load_lora_weights(str(path.parent), weight_name=path.name, adapter_name=n)
    parts = [c for c in networks(pipeline) if hasattr(getattr(pipeline, c), "peft_config")]
    pipeline.set_adapters(names, adapter_weights=[{c: (t if c.startswith("text") else w) for c in parts} for _, w, t in files])
    pipeline.fuse_lora(components=parts, adapter_names=names)
    pipeline.unload_lora_weights()
    with torch.no_grad():
        image = pipeline(PROMPT, generator=torch.Generator("cpu").manual_seed(7), output_type="pt", **call).images
    save_file({"image": image.contiguous()}, suite.out / f"{name}.picture.safetensors")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True, help="the SDXL fixture: fixtures/pipelines/base")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    shutil.rmtree(arguments.out, ignore_errors=True)
    suite = Suite(arguments.out)
    files = arguments.out / "files"
    with tempfile.TemporaryDirectory() as work:
        make = {
            "sdxl": lambda: quiet(StableDiffusionXLPipeline.from_pretrained(arguments.base / "model", torch_dtype=torch.float32, low_cpu_mem_usage=False)),
            "sd": lambda: tiny_models.sd(Path(work)),
            "flux": lambda: tiny_models.flux(Path(work)),
        }
        for family in ("sd", "flux"):
            tiny_models.store(make[family](), arguments.out / family / "model")
        sdxl_cases(suite, files, make["sdxl"])
        sd_cases(suite, files, make["sd"])
        flux_cases(suite, files, make["flux"])
    (arguments.out / "cases.json").write_text(json.dumps(suite.cases, separators=(",", ":")) + "\n")
    size = sum(f.stat().st_size for f in arguments.out.rglob("*") if f.is_file())
    print(f"{arguments.out}: {len(suite.cases)} cases, {size / 1e6:.2f} MB")


def quiet(pipeline):
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def both(suite: Suite, files: Path, make, family: str, name: str, tensors: dict, layers: list[Layer], weight=1.0, text=None, metadata=None) -> None:
    """A case of one file that diffusers and the formula agree on."""
    text = weight if text is None else text
    file = suite.file(name, tensors, metadata)
    before = parameters(make())
    ours = formula(before, [(layers, weight, text)])
    theirs = fused(make, [(files / file, weight, text)])
    agree(name, theirs, ours)
    suite.case(name, family, [(file, weight, text)], before, theirs)


def alone(suite: Suite, make, family: str, name: str, tensors: dict, layers: list[Layer], weight=1.0, metadata=None) -> None:
    """A case of one file of a kind that only the formula knows."""
    file = suite.file(name, tensors, metadata)
    before = parameters(make())
    suite.case(name, family, [(file, weight, weight)], before, formula(before, [(layers, weight, weight)]))


def sdxl_cases(suite: Suite, files: Path, make) -> None:
    pipeline = make()
    layers = linear(pipeline, "sgm", 16, alpha=1.5)
    both(suite, files, make, "sdxl", "sdxl-kohya-sgm", sgm(layers), layers, 0.8, 0.6)
    layers = linear(pipeline, "kohya", 16, alpha=4.0, components=("unet", "text_encoder"), wanted=lambda n, p: p.dim() == 2)
    both(suite, files, make, "sdxl", "sdxl-kohya-diffusers", kohya(layers), layers, -0.7)
    layers = linear(pipeline, "modern", 14, wanted=is_attention)
    both(suite, files, make, "sdxl", "sdxl-diffusers", modern(layers), layers, 1.2, 0.5)
    layers = linear(pipeline, "settings", 14, alpha=3.0, wanted=is_attention, components=("unet",))
    for layer in layers[::3]:
        layer.alpha = 7.0
    settings = peft_settings(layers, "unet.")
    both(suite, files, make, "sdxl", "sdxl-diffusers-metadata", modern(layers), layers, metadata={"format": "pt", "lora_adapter_metadata": json.dumps(settings)})
    # diffusers tells this spelling of a text encoder by its `to_out`, so one layer of each has all projections.
    layers = linear(pipeline, "processors", 1, wanted=lambda n, p: is_attention(n, p) and (".layers.1." in n if "layers." in n else chosen(n, 14)))
    both(suite, files, make, "sdxl", "sdxl-processors", processors(layers), layers, 0.9)
    layers = linear(pipeline, "dora", 20, "dora", components=("unet",))
    both(suite, files, make, "sdxl", "sdxl-dora", modern(layers), layers, 0.75)
    # diffusers leaves the norms out of sd-scripts' files, with a warning.
    layers = linear(pipeline, "dora-kohya", 24, "dora", alpha=2.0, components=("unet",))
    alone(suite, make, "sdxl", "sdxl-dora-kohya", sgm(layers), layers, 0.75)
    layers = linear(pipeline, "locon", 4, "locon", alpha=2.0, components=("unet",), wanted=lambda n, p: p.dim() == 4 and p.shape[2] == 3)
    alone(suite, make, "sdxl", "sdxl-locon-core", sgm(layers), layers, 0.5)
    for kind in ("loha", "lokr"):
        layers = linear(pipeline, kind, 20, kind, alpha=1.5, wanted=lambda n, p: p.shape[0] % 4 == 0 and p.shape[1] % 4 == 0)
        alone(suite, make, "sdxl", f"sdxl-{kind}", kohya(layers), layers, 0.7)
    layers = linear(pipeline, "diff", 40, "diff", components=("unet",), wanted=lambda n, p: p.numel() < 5000)
    alone(suite, make, "sdxl", "sdxl-diff", kohya(layers), layers, 0.3)
    layers = linear(pipeline, "peft", 16, alpha=6.0, wanted=is_attention, components=("unet",))
    peft_case(suite, make, layers)
    stack(suite, files, make, "sdxl", [("sdxl-kohya-sgm", 0.7, 0.4), ("sdxl-diffusers", -0.4, 0.9)], height=64, width=64, num_inference_steps=3,
          guidance_scale=3.0, negative_prompt=NEGATIVE)


def peft_settings(layers: list[Layer], prefix: str) -> dict:
    """What PEFT would write about these layers."""
    rank = {layer.name: layer.tensors["down"].shape[0] for layer in layers}
    return {f"{prefix}r": 1, f"{prefix}lora_alpha": 3, f"{prefix}rank_pattern": rank, f"{prefix}target_modules": sorted(rank), f"{prefix}peft_type": "LORA",
            f"{prefix}alpha_pattern": {layer.name: layer.alpha for layer in layers if layer.alpha != 3.0}}


def peft_case(suite: Suite, make, layers: list[Layer]) -> None:
    """PEFT's own files: an adapter of the UNet alone, its alpha and the root of its rank in adapter_config.json."""
    from peft import LoraConfig, get_peft_model
    from peft.utils import set_peft_model_state_dict

    before = parameters(make())
    unet = make().unet
    ranks = {layer.name: layer.tensors["down"].shape[0] for layer in layers}
    model = get_peft_model(unet, LoraConfig(r=1, lora_alpha=6, rank_pattern=ranks, target_modules=sorted(ranks), use_rslora=True))
    file = modern(layers, prefix=False)
    set_peft_model_state_dict(model, {k: v.float() for k, v in file.items()})
    folder = suite.out / "files" / "sdxl-peft"
    folder.mkdir(parents=True)
    save_file({k: v.contiguous() for k, v in file.items()}, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 1, "lora_alpha": 6, "use_rslora": True, "rank_pattern": ranks, "target_modules": sorted(ranks), "alpha_pattern": {}}
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=1) + "\n")
    after = {n: p.detach().clone() for n, p in model.merge_and_unload().named_parameters()}
    suite.case("sdxl-peft", "sdxl", [("sdxl-peft/adapter_model.safetensors", 1.0, 1.0)], {"unet": before["unet"]}, {"unet": after})


def sd_cases(suite: Suite, files: Path, make) -> None:
    pipeline = make()
    layers = linear(pipeline, "sd-kohya", 1, alpha=2.0, wanted=lambda n, p: ".layers.1." in n if "layers." in n else chosen(n, 5))
    file = {k.replace("lora_te1_", "lora_te_"): v for k, v in kohya(layers).items()}
    both(suite, files, make, "sd", "sd-kohya", file, layers, 0.8)
    layers = linear(pipeline, "sd-modern", 5)
    both(suite, files, make, "sd", "sd-diffusers", modern(layers), layers, 1.1, 0.3)
    stack(suite, files, make, "sd", [("sd-kohya", 0.9, 0.2), ("sd-diffusers", 0.5, 0.5)], height=16, width=16, num_inference_steps=3, guidance_scale=3.0,
          negative_prompt=NEGATIVE)


def flux_cases(suite: Suite, files: Path, make) -> None:
    transformer = make().transformer
    width = transformer.inner_dim
    # The one table in diffusers' conversion that knows FLUX's real width.
    source = inspect.getsource(lora_conversion_utils._convert_kohya_flux_lora_to_diffusers)
    mine = source.replace("dims=[3072, 3072, 3072, 12288]", f"dims={[width, width, width, 4 * width]}")
    assert mine != source
    exec(mine, vars(lora_conversion_utils))
    lora_pipeline._convert_kohya_flux_lora_to_diffusers = lora_conversion_utils._convert_kohya_flux_lora_to_diffusers

    texts = linear(make(), "flux-text", 1, alpha=1.0, components=("text_encoder",), wanted=lambda n, p: ".layers.0." in n)
    blocks = bfl_layers(transformer, "flux-kohya", 1.0, 1, lambda n: "blocks" in n)
    parts = [p for _, pieces, _ in blocks for p in pieces]
    # In single precision: diffusers multiplies the factors of this spelling by alpha over rank in the precision of the file.
    file = {k: v.float() for k, v in kohya([whole for _, _, whole in blocks] + texts).items()}
    both(suite, files, make, "flux", "flux-kohya", file, parts + texts, 0.8, 0.6)

    # BFL's names with PEFT's factors; outside the blocks, diffusers reads no alpha.
    blocks = bfl_layers(transformer, "flux-bfl", None, 2)
    parts = [p for _, pieces, _ in blocks for p in pieces]
    file = {}
    for name, _, whole in blocks:
        file |= {f"diffusion_model.{name}.lora_B.weight": whole.tensors["up"], f"diffusion_model.{name}.lora_A.weight": whole.tensors["down"]}
    alone(suite, make, "flux", "flux-bfl-peft", file, parts, 0.9)

    layers = linear(make(), "flux-modern", 3, components=("transformer", "text_encoder"), wanted=lambda n, p: "embed" not in n)
    both(suite, files, make, "flux", "flux-diffusers", modern(layers), layers, 0.7, 0.5)

    layers = linear(make(), "flux-one", 3, alpha=0.5, components=("transformer",), wanted=lambda n, p: "attn" in n)
    file = {k.replace("lora_unet_", "lora_transformer_"): v.float() for k, v in kohya(layers).items()}
    both(suite, files, make, "flux", "flux-onetrainer", file, layers, 1.3)

    blocks = bfl_layers(transformer, "flux-xlabs", None, 1, lambda n: "qkv" in n or "attn.proj" in n or "linear2" in n)
    file, parts = {}, []
    for name, pieces, whole in blocks:
        parts += pieces
        block, _, inside = name.partition(".")[0], *name.split(".", 2)[1:]
        spelled = {"img_attn.qkv": "qkv_lora1", "txt_attn.qkv": "qkv_lora2", "img_attn.proj": "proj_lora1", "txt_attn.proj": "proj_lora2", "linear2": "proj_lora"}
        stem = f"{block}.{name.split('.')[1]}.processor.{spelled[inside]}"
        file |= {f"{stem}.up.weight": whole.tensors["up"], f"{stem}.down.weight": whole.tensors["down"]}
    both(suite, files, make, "flux", "flux-xlabs", file, parts)
    stack(suite, files, make, "flux", [("flux-kohya", 0.9, 0.4), ("flux-diffusers", -0.5, 0.5)], height=16, width=16, num_inference_steps=3,
          guidance_scale=3.5, max_sequence_length=32)


def stack(suite: Suite, files: Path, make, family: str, members: list, **call) -> None:
    """Two files at once, with their own weights for pictures and texts; and the picture."""
    paths = [(files / f"{name}.safetensors", w, t) for name, w, t in members]
    before = parameters(make())
    theirs = fused(make, paths)
    suite.case(f"{family}-stack", family, [(p.name, w, t) for p, w, t in paths], before, theirs)
    write_pictures(suite, f"{family}-stack", make, paths, **call)


if __name__ == "__main__":
    main()
