"""Small checkpoints as torch writes them, each with a safetensors twin that holds the same tensors.

    python tools/catalog/pickle_fixtures.py crates/catalog/tests/fixtures

Needs torch, numpy and safetensors. The files are committed; the tests of the catalogue compare every tensor's bytes.
Written again they differ in the keys of old storages (addresses) and in nothing that matters.
"""

import collections
import pathlib
import pickle
import sys
import types

import numpy
import safetensors.torch
import torch


def tensor(*shape, dtype=torch.float32, start=0):
    count = 1
    for axis in shape:
        count *= axis
    return (torch.arange(start, start + count, dtype=torch.float32) % 97 - 31).reshape(shape).to(dtype)


def dtypes():
    kinds = {
        "f64": torch.float64, "f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16,
        "u8": torch.uint8, "i8": torch.int8, "i16": torch.int16, "i32": torch.int32, "i64": torch.int64,
    }
    state = {name: tensor(3, 5, dtype=kind, start=31) for name, kind in kinds.items()}
    state["bool"] = tensor(7) > 0
    return state


def views():
    """Views of shared storage: slices, transposes, steps, an expanded axis, a scalar, nothing."""
    base = tensor(6, 8)
    return {
        "base": base,
        "slice": base[2:4],
        "transposed": base.t(),
        "columns": base[:, 1:4],
        "steps": base[::2, ::3],
        "channels_last": tensor(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "expanded": base[0, :4].expand(3, 4),
        "one_row": base[3:4, :],
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 4),
        "same": base,
    }


def checkpoint_class():
    """A class of the name that Lightning's checkpoints mention, without Lightning."""
    module = types.ModuleType("pytorch_lightning.callbacks.model_checkpoint")
    parts = module.__name__.split(".")
    for depth in range(1, len(parts)):
        name = ".".join(parts[:depth])
        sys.modules.setdefault(name, types.ModuleType(name))
    sys.modules[module.__name__] = module
    module.ModelCheckpoint = type("ModelCheckpoint", (), {"__module__": module.__name__})
    return module.ModelCheckpoint


def lightning(state):
    return {
        "epoch": 4,
        "global_step": 470000,
        "pytorch-lightning_version": "1.4.2",
        "state_dict": collections.OrderedDict(state),
        "callbacks": {checkpoint_class(): {"best_model_score": numpy.float64(0.5), "current_score": None}},
        "optimizer_states": [{"state": {0: {"exp_avg": tensor(3, 2)}}, "param_groups": [{"lr": 1e-4, "params": [0]}]}],
        "lr_schedulers": [{"last_epoch": 4, "base_lrs": [1.0]}],
    }


def model_state():
    return {
        "model.diffusion_model.input_blocks.0.0.weight": tensor(4, 4, 3, 3, dtype=torch.float16),
        "model.diffusion_model.out.2.bias": tensor(4, dtype=torch.float16),
        "model_ema.decay": torch.tensor(0.9999),
        "model_ema.num_updates": torch.tensor(7, dtype=torch.int32),
        "first_stage_model.decoder.conv_in.weight": torch.nn.Parameter(tensor(8, 4, 3, 3)),
    }


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    files = 0

    def save(name, state, what=None, **options):
        nonlocal files
        torch.save(state if what is None else what, folder / name, **options)
        twin = {key: value.detach().clone().contiguous() for key, value in state.items()}
        safetensors.torch.save_file(twin, folder / f"{name}.safetensors")
        files += 1

    legacy = {"_use_new_zipfile_serialization": False}
    save("dtypes.pt", dtypes())
    save("dtypes.legacy.pt", dtypes(), **legacy)
    new = {"f8_e4m3": tensor(3, 5, dtype=torch.float8_e4m3fn), "f8_e5m2": tensor(3, 5, dtype=torch.float8_e5m2)}
    new |= {"u16": tensor(5, start=31).to(torch.uint16), "u32": tensor(5, start=31).to(torch.uint32)}
    save("new_dtypes.pt", new)
    save("views.pt", views())
    save("views.legacy.pt", views(), **legacy)
    state = model_state()
    save("lightning.ckpt", state, lightning(state))
    save("lightning.legacy.ckpt", state, lightning(state), **legacy)
    for protocol in (3, 4, 5):
        save(f"protocol{protocol}.ckpt", state, lightning(state), pickle_protocol=protocol)
    save("protocol4.legacy.ckpt", state, lightning(state), pickle_protocol=4, **legacy)
    layers = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    save("module.bin", layers.state_dict())
    weights = {"conv_first.weight": tensor(2, 3, 3, 3), "conv_first.bias": tensor(2)}
    averaged = {key: value + 1 for key, value in weights.items()}
    save("upscaler.pth", averaged, {"params": weights, "params_ema": averaged})
    nested = {"image_proj": {"proj.weight": tensor(2, 3)}, "ip_adapter": {"1.to_k_ip.weight": tensor(3, 2)}}
    save("nested.bin", {f"{a}.{b}": t for a, inner in nested.items() for b, t in inner.items()}, nested)
    embedding = tensor(2, 768, dtype=torch.float16)
    inversion = {"string_to_token": {"*": 265}, "string_to_param": torch.nn.ParameterDict({"*": embedding}),
                 "name": "style", "step": 500}
    save("inversion.pt", {"string_to_param.*": embedding}, inversion)
    assert pickle.DEFAULT_PROTOCOL >= 4
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{files} pairs, {size} bytes")
    assert size < 150_000


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
