#!/usr/bin/env python3
"""Plant classic bugs of FLUX and T5 in a copy of the engine and tell which parity tests catch each (`planting.py`)."""

from __future__ import annotations

import planting
from planting import Bug

FLUX, PIPELINE = "src/models/flux", "src/pipelines/flux"
TESTS = ["lib", "parity_flux"]
BUGS = [
    Bug("row and column swapped in the positions", f"{FLUX}/conditioning.rs", "[0, row, column]", "[0, column, row]"),
    Bug("places counted from one", f"{FLUX}/conditioning.rs", "[0, row, column]", "[0, row + 1, column + 1]"),
    Bug("frequencies of a whole head for each axis", "src/nn/rope.rs", "f_div_scalar(dim as f64)", "f_div_scalar(axes.iter().sum::<i64>() as f64)"),
    Bug("shift before scale in the last norm", f"{FLUX}/mod.rs", "let [scale, shift] = modulation::parts", "let [shift, scale] = modulation::parts"),
    Bug("scale before shift in the blocks", f"{FLUX}/single.rs", "let [shift, scale, gate] = parts", "let [scale, shift, gate] = parts"),
    Bug("gates of attention and feed-forward swapped", f"{FLUX}/double.rs",
        "let [shift, scale, gate, shift_mlp, scale_mlp, gate_mlp]", "let [shift, scale, gate_mlp, shift_mlp, scale_mlp, gate]"),
    Bug("exact GELU in a block of two streams", f"{FLUX}/double.rs", "Activation::GeluTanh", "Activation::Gelu"),
    Bug("exact GELU in a block of one stream", f"{FLUX}/single.rs",
        "gelu_tanh_into(&inner, &mut both.f_narrow(-1, width, inner_width)?)?",
        'both.f_narrow(-1, width, inner_width)?.f_copy_(&inner.f_gelu("none")?)?'),
    Bug("keys normed as queries", f"{FLUX}/double.rs", "(&key, &self.picture.norm_key)", "(&key, &self.picture.norm_query)"),
    Bug("text and picture at the same places", "src/nn/rope.rs", "&turns.f_narrow(0, first, length)?", "&turns.f_narrow(0, 0, length)?"),
    Bug("the picture before the text", "src/nn/rope.rs", "let normed = streams.iter().map", "let normed = streams.iter().rev().map"),
    Bug("every step as the first", f"{FLUX}/modulation.rs", "let at = |all: &Tensor| all.f_select(0, row);", "let at = |all: &Tensor| all.f_select(0, row.min(0));"),
    Bug("text after the picture", f"{FLUX}/mod.rs", "Tensor::f_cat(&[text, picture], 1)?", "Tensor::f_cat(&[picture, text], 1)?"),
    Bug("guidance not times 1000", f"{FLUX}/conditioning.rs", "self.waves(&[guidance])?", "self.waves(&[guidance / 1000.0])?"),
    Bug("sines before cosines in the time", f"{FLUX}/conditioning.rs", "Sinusoid::new(SINUSOID, true", "Sinusoid::new(SINUSOID, false"),
    Bug("norm epsilon 1e-5 for 1e-6", f"{FLUX}/mod.rs", "const EPS: f64 = 1e-6", "const EPS: f64 = 1e-5"),
    Bug("CLIP's pooled state without the final norm", "src/models/clip.rs",
        "let last = run(self.embed(ids)?, &self.layers)?;\n        self.end_of_text(ids, &self.normed(&last)?)",
        "let last = run(self.embed(ids)?, &self.layers)?;\n        self.end_of_text(ids, &last)"),
    Bug("T5 without its final norm", "src/models/t5.rs", "self.norm.forward(&hidden)", "Ok(hidden)"),
    Bug("T5's scores divided by the root of the width", "src/models/t5.rs", "bias, 1.0)?)?", "bias, 0.4)?)?"),
    Bug("T5's bias in the first layer only", "src/models/t5.rs", "for block in &self.blocks {\n                hidden = block.forward(&hidden, &bias)?;",
        "for (i, block) in self.blocks.iter().enumerate() {\n                hidden = block.forward(&hidden, &bias.f_mul_scalar(f64::from(u8::from(i == 0)))?)?;"),
    Bug("T5's distances the other way round", "src/models/t5.rs", "distance.f_gt(0)?", "distance.f_lt(0)?"),
    Bug("T5's far distances in one bucket more", "src/models/t5.rs", "grown.f_clamp_max(half - 1)?", "grown.f_clamp_max(half - 2)?"),
    Bug("exact GELU for gelu_new in T5", "src/config/t5.rs", '"gelu_new" => Activation::GeluNew', '"gelu_new" => Activation::Gelu'),
    Bug("exact GELU in T5's gate", "src/config/t5.rs", '["gated", "gelu"] => (true, "gelu_new")', '["gated", "gelu"] => (true, "gelu")'),
    Bug("T5's activation on the other matrix", "src/models/t5.rs", 'if config.gated { ["wi_0", "wi_1"] }', 'if config.gated { ["wi_1", "wi_0"] }'),
    Bug("T5's end cut off with the rest", "src/tokenizer/t5.rs", "length.saturating_sub(self.added)", "length"),
    Bug("the VAE's shift left out", f"{PIPELINE}/mod.rs", "-> Scaling {\n        Scaling::Shift", "-> Scaling {\n        Scaling::Factor"),
    Bug("channels last in a patch", f"{PIPELINE}/pack.rs", "f_permute([0, 2, 4, 1, 3, 5])", "f_permute([0, 2, 4, 3, 5, 1])"),
    Bug("rows and columns within a patch swapped", f"{PIPELINE}/pack.rs", "f_permute([0, 2, 4, 1, 3, 5])", "f_permute([0, 2, 4, 1, 5, 3])"),
    Bug("true guidance beyond the positive prediction by one", f"{PIPELINE}/mod.rs", "Guidance { scale: *scale,", "Guidance { scale: *scale + 1.0,"),
    Bug("negative prompt encoded without its words", f"{PIPELINE}/prompt.rs", '("negative prompt", text)', '("negative prompt", &text[..0])'),
    Bug("sigmas down to half a step", "src/schedulers/flow_match.rs", "linspace(1.0, 1.0 / f64::from(ask.steps)", "linspace(1.0, 0.5 / f64::from(ask.steps)"),
    Bug("the schedule shifted by pixels, not patches", f"{PIPELINE}/mod.rs", "rows.saturating_mul(columns)", "(4 * rows).saturating_mul(columns)"),
    Bug("steps of a picture rounded as SD's", f"{PIPELINE}/mod.rs", "schedule.begin_of_flux(", "schedule.begin("),
    Bug("no noise drawn for a picture's latents", f"{PIPELINE}/start.rs", "let drawn = on(self.device, self.vae_kind, &noise.draw()?)?;",
        "let drawn = on(self.device, self.vae_kind, &noise.draw()?.f_zeros_like()?)?;"),
    Bug("mask the other way round", f"{PIPELINE}/start.rs", "mask: mask.shallow_clone()", "mask: mask.f_neg().unwrap().f_add_scalar(1.0).unwrap()"),
    Bug("pooled text of the first for all of a batch", f"{PIPELINE}/prompt.rs", "[(only, _)] => only", "[(only, _), ..] => only"),
    Bug("pictures scaled without shift", f"{PIPELINE}/start.rs", "Scaling::Shift.apply", "Scaling::Factor.apply"),
]

if __name__ == "__main__":
    planting.main(__doc__, TESTS, BUGS)
