#!/usr/bin/env python3
"""Plant classic bugs of adapters and of long and weighted prompts in a copy of the engine and tell which tests catch each (`planting.py`)."""

from __future__ import annotations

import planting
from planting import Bug

ADAPTERS, TEXT = "src/adapters", "src/pipelines/text"
TESTS = ["parity_lora"]
BUGS = [
    Bug("alpha ignored", f"{ADAPTERS}/matching.rs", "return Ok((alpha, alpha / rank));", "return Ok((alpha, rank / rank));"),
    Bug("PEFT's alpha ignored", f"{ADAPTERS}/file.rs", '.or_else(|| get("lora_alpha").and_then(Value::as_f64))', ""),
    Bug("alpha of a pattern ignored", f"{ADAPTERS}/file.rs", "let alpha = special.or_else", "let alpha = special.filter(|_| false).or_else"),
    Bug("root of the rank ignored", f"{ADAPTERS}/matching.rs", "if by_root { rank.sqrt() } else { rank }", "if by_root { rank } else { rank }"),
    Bug("alpha over the outputs, not the rank", f"{ADAPTERS}/change.rs", "let rank = down.dim(0);", "let rank = up.dim(0);"),
    Bug("up and down swapped", f"{ADAPTERS}/piece.rs",
        '(".lora_down.weight", Piece::Down),\n    (".lora_up.weight", Piece::Up),', '(".lora_down.weight", Piece::Up),\n    (".lora_up.weight", Piece::Down),'),
    Bug("fused projections split from the first row each", f"{ADAPTERS}/matching.rs", "let range = next..next.saturating_add(rows);", "let range = 0..rows;"),
    Bug("queries and keys swapped in a fused projection", f"{ADAPTERS}/names/bfl.rs",
        'const PICTURE: [&str; 3] = ["attn.to_q", "attn.to_k", "attn.to_v"];', 'const PICTURE: [&str; 3] = ["attn.to_k", "attn.to_q", "attn.to_v"];'),
    Bug("halves of the last norm not turned", f"{ADAPTERS}/merge.rs", "if !patch.swapped {", "if patch.swapped || !patch.swapped {"),
    Bug("second text encoder's layers on the first", f"{ADAPTERS}/layers.rs", '("lora_te2_", SECOND_TEXT)', '("lora_te2_", FIRST_TEXT)'),
    Bug("weight of pictures for texts", f"{ADAPTERS}/matching.rs", "if is_text { self.weighted.text }", "if is_text { self.weighted.denoiser }"),
    Bug("downsamplers not counted", f"{ADAPTERS}/names/sgm.rs", "if block.samples {\n            prefixes", "if false {\n            prefixes"),
    Bug("middle attention where the second resnet is", f"{ADAPTERS}/names/sgm.rs", '[(0, "resnets"), (1, "attentions")]', '[(1, "resnets"), (0, "attentions")]'),
    Bug("streams of XLabs swapped", f"{ADAPTERS}/names/bfl.rs", 'original("processor.proj_lora1"), Place::One(at("attn.to_out.0"))',
        'original("processor.proj_lora1"), Place::One(at("attn.to_add_out"))'),
    Bug("core of a convolution turned over", f"{ADAPTERS}/merge.rs", '"ijk,io,jn->onk"', '"jik,io,jn->onk"'),
    Bug("sum for product in LoHa", f"{ADAPTERS}/merge.rs", "product(first, one)?.f_mul(", "product(first, one)?.f_add("),
    Bug("Kronecker product the other way round", f"{ADAPTERS}/merge.rs", "matrix(left, file)?.f_kron(&matrix(right, file)?)?", "matrix(right, file)?.f_kron(&matrix(left, file)?)?"),
    Bug("DoRA not renormed", f"{ADAPTERS}/merge.rs", "let Some(magnitude) = &patch.magnitude else {", "let Some(magnitude) = patch.magnitude.as_ref().filter(|_| false) else {"),
    Bug("DoRA's lengths without the change", f"{ADAPTERS}/merge.rs", "let lengths = weight.f_norm_scalaropt_dim(2, [1], true)?;",
        "let lengths = weight.f_sub(&own_rows(&whole(&patch.change, file)?, patch)?.f_mul_scalar(patch.scale)?)?.f_norm_scalaropt_dim(2, [1], true)?;"),
    Bug("only the last of a stack", f"{ADAPTERS}/merge.rs", "Some(sum) => sum.f_add(&change)?,", "Some(_) => change,"),
    Bug("rounded before the sum", "src/weights/map.rs", "Some(patches) => read(Kind::Float)", "Some(patches) => read(self.kind)"),
    Bug("changed component taken for the plain one", "src/pool/identity.rs", "self.0.update(&patches.digest());", "let _ = patches;"),
    Bug("strict reading ignored", f"{ADAPTERS}/set.rs", "if strict && !report.unmatched.is_empty() {", "if strict && report.matched.is_empty() {"),
    Bug("mean of a weighted prompt not restored", f"{TEXT}/mod.rs", "weighed.f_mul(&restore)?", "weighed"),
    Bug("weights one token early", f"{TEXT}/plan.rs", "std::iter::once(1.0).chain(chunk.words", "std::iter::empty().chain(chunk.words"),
    Bug("no step back to a comma", f"{TEXT}/plan.rs", "const BACKTRACK: usize = 20;", "const BACKTRACK: usize = 0;"),
    Bug("pooled text of the last chunk", f"{TEXT}/mod.rs", "if i == 0 {", "if i + 1 == plan.rows.len() {"),
    Bug("square brackets weigh more", "src/prompt/weights.rs", "(']', false, STEP.recip())", "(']', false, STEP)"),
]

if __name__ == "__main__":
    planting.main(__doc__, TESTS, BUGS)
