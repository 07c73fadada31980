#!/usr/bin/env python3
"""Plant classic bugs in a copy of the engine and tell which parity tests catch each.

Each bug is one replacement of text in the sources; the copy lies in a temporary folder, the working tree is not
touched. Prints a Markdown table. Exit status 1 if a bug is caught by no test, or if its text is not found (then the
source has changed and the bug must be written anew). Needs LIBTORCH, as every build of the engine does.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ENGINE = Path("crates/engine")
TESTS = ["parity_pipelines", "parity_edits", "parity_schedulers", "parity_tokenizer"]


@dataclass(frozen=True)
class Bug:
    name: str
    file: str
    old: str
    new: str


BUGS = [
    Bug("tanh for the exact GELU of the feed-forward", "src/models/transformer.rs", 'f_gelu("none")', 'f_gelu("tanh")'),
    Bug("GroupNorm epsilon 1e-5 for 1e-6 before a transformer", "src/models/transformer.rs",
        "const GROUP_NORM_EPS: f64 = 1e-6", "const GROUP_NORM_EPS: f64 = 1e-5"),
    Bug("last for penultimate hidden state", "src/models/clip.rs", "skip: clip_skip.saturating_add(1)", "skip: clip_skip"),
    Bug("quick GELU for GELU", "src/config/clip.rs", '"gelu" => Activation::Gelu', '"gelu" => Activation::QuickGelu'),
    Bug("sine and cosine swapped in the timestep embedding", "src/config/unet/mod.rs",
        'flip_sin_to_cos: reader.flag("flip_sin_to_cos", true)?', 'flip_sin_to_cos: !reader.flag("flip_sin_to_cos", true)?'),
    Bug("zeros for an empty negative prompt too", "src/pipelines/latent/condition.rs",
        "request.negative_prompt.is_none() &&", 'request.negative_prompt.as_deref().unwrap_or("").is_empty() &&'),
    Bug("an absent negative prompt encoded", "src/pipelines/latent/condition.rs",
        "request.negative_prompt.is_none() &&", "request.negative_prompt.is_none() && request.steps == 0 &&"),
    Bug("width before height in the time ids", "src/pipelines/sdxl.rs",
        "let (height, width) = (f64::from(request.height), f64::from(request.width));",
        "let (width, height) = (f64::from(request.height), f64::from(request.width));"),
    Bug("pooled state of the last token", "src/models/clip.rs", "scores.f_argmax(-1, false)?", "scores.f_argmax(-1, false)?.f_full_like(76)?"),
    Bug("halves rounded away from zero in the spacing", "src/schedulers/spacing.rs",
        "(last + i as f64 * delta).round_ties_even()", "(last + i as f64 * delta).round()"),
    Bug("first noise scaled by the root for every spacing", "src/schedulers/euler.rs",
        "TimestepSpacing::Linspace | TimestepSpacing::Trailing => max,",
        "TimestepSpacing::Linspace | TimestepSpacing::Trailing => (max * max + 1.0).sqrt(),"),
    Bug("Karras sigmas between the ends of the timesteps for DPM solvers", "src/schedulers/levels.rs",
        "f64::from(table[table.len() - 1]), f64::from(table[0])", "f64::from(table[table.len() - 2]), f64::from(table[0])"),
    Bug("timesteps of Karras cut off instead of rounded", "src/schedulers/dpm_multistep.rs",
        "if rounds { t.round_ties_even() } else { t.trunc() }", "if rounds { t.trunc() } else { t.trunc() }"),
    Bug("last steps of few not in lower order", "src/schedulers/dpm_multistep.rs",
        "i + 2 == self.runs && self.lower_order_final", "i + 2 == self.runs + 2 && self.lower_order_final"),
    Bug("last step not Euler's", "src/schedulers/dpm_multistep.rs",
        "i + 1 == self.runs && self.ends_flat", "i + 1 == self.runs + 1 && self.ends_flat"),
    Bug("Heun's rule for midpoint", "src/schedulers/dpm.rs",
        "if self.heun { Rule::Heun } else { Rule::Midpoint }", "if self.heun { Rule::Midpoint } else { Rule::Heun }"),
    Bug("noise of the SDE without its factor of two", "src/schedulers/dpm.rs",
        "noise: t.noise * (1.0 - exp(-2.0 * h)).sqrt(),", "noise: t.noise * (1.0 - exp(-h)).sqrt(),"),
    Bug("groups that do not begin anew", "src/schedulers/dpm_singlestep.rs",
        "if order == 1 {\n                advance", "if i == begin {\n                advance"),
    Bug("corrector off", "src/schedulers/unipc.rs", "let corrects = before > 0", "let corrects = before > 1000"),
    Bug("corrector in the order of the step to come", "src/schedulers/unipc.rs",
        "self.correct(i, last_order)", "self.correct(i, (last_order + 1).min(self.order).min(before))"),
    Bug("ancestral noise up and down swapped", "src/schedulers/ancestral.rs",
        "(f64::from(down - from), Local(1)), (f64::from(up), Fresh)", "(f64::from(up - from), Local(1)), (f64::from(down), Fresh)"),
    Bug("new noise for the whole of a Brownian step", "src/schedulers/dpm_sde.rs",
        "(whole.up, Local(1))", "(whole.up, Fresh)"),
    Bug("second slope of Heun alone", "src/schedulers/heun.rs",
        "&[(1.0, Kept(0)), (1.0, Local(1))]).over(2.0)", "&[(1.0, Local(1)), (1.0, Local(1))]).over(2.0)"),
    Bug("DDIM ends on the first alpha", "src/schedulers/ddim.rs",
        "keys.set_alpha_to_one.unwrap_or(true)", "keys.set_alpha_to_one.unwrap_or(false)"),
    Bug("DDIM clips nothing unless told", "src/schedulers/ddim.rs", "predict::bounds(keys, true)", "predict::bounds(keys, false)"),
    Bug("threshold from the whole batch", "src/pipelines/sampler.rs", "let flat = clean.f_flatten(1, -1)?;",
        "let flat = clean.f_flatten(0, -1)?.f_unsqueeze(0)?;"),
    Bug("PLMS without its second run of the first step", "src/schedulers/pndm.rs", "1 if skips => {", "1 if skips && timestep < 0 => {"),
    Bug("LCM noise after the last step", "src/schedulers/lcm.rs", "if i + 1 == self.asked {", "if i + 1 > self.asked {"),
    Bug("flow shifted by mu instead of its exponential", "src/schedulers/flow_match.rs",
        "TimeShift::Exponential => mu.exp(),", "TimeShift::Exponential => mu,"),
    Bug("strength rounded to the nearest step", "src/schedulers/mod.rs", "(asked * strength).floor().min(asked))", "(asked * strength).round().min(asked))"),
    Bug("noise of a picture begun by the level after it", "src/pipelines/sampler.rs",
        "self.schedule.noising(self.begin + i)", "self.schedule.noising(self.begin + i + 1)"),
    Bug("decoder scale of SD 1 for that of the file", "src/models/vae/scaling.rs",
        "Ok(latents.f_div_scalar(factor)?)", "Ok(latents.f_div_scalar(0.18215 + 0.0 * factor)?)"),
    Bug("negative prompt skips layers too", "src/pipelines/latent/condition.rs", "family.layer(0)", "layer"),
    Bug("skipped layers not normed for SD", "src/models/clip.rs", "skip: clip_skip, norm: true", "skip: clip_skip, norm: clip_skip == 0"),
    Bug("mode for a sample of the picture's latents", "src/models/vae/posterior.rs",
        "self.mean.f_add(&deviation.f_mul(noise)?)?", "self.mean.f_add(&deviation.f_mul(noise)?.f_mul_scalar(0.0)?)?"),
    Bug("variance for deviation", "src/models/vae/posterior.rs", "f_mul_scalar(0.5)?.f_exp()", "f_mul_scalar(1.0)?.f_exp()"),
    Bug("noise drawn before the sample of the picture's latents", "src/pipelines/latent/start.rs",
        "let clean = match (&source.image, work) {",
        "let _ = noise.draw()?;\n        let clean = match (&source.image, work) {"),
    Bug("the sample of the masked picture not drawn", "src/pipelines/latent/start.rs", "let _ = noise.draw()?;", ""),
    Bug("mask the other way round", "src/pipelines/latent/start.rs", "u8::from(bright >= 128)", "u8::from(bright < 128)"),
    Bug("any grey of the mask is white", "src/pipelines/latent/start.rs", "bright >= 128", "bright >= 1"),
    Bug("fresh noise on what stays", "src/pipelines/denoise.rs",
        "&sampler.add_noise(next, &self.clean, &self.noise)?", "&sampler.add_noise(next, &self.clean, &self.noise.f_neg()?)?"),
    Bug("what stays as noisy as the step before", "src/pipelines/denoise.rs", "kept.put_back(&sampler, i + 1, &latents)?", "kept.put_back(&sampler, i, &latents)?"),
    Bug("what stays never put back", "src/pipelines/denoise.rs", "if let Some(kept) = kept {", "if let Some(kept) = kept.filter(|_| i > steps) {"),
    Bug("masked picture before the mask", "src/pipelines/latent/network.rs",
        "&[twice(sample)?, twice(mask)?, twice(masked)?]", "&[twice(sample)?, twice(masked)?, twice(mask)?]"),
    Bug("masked picture not masked", "src/pipelines/latent/start.rs", "image.f_mul(&mask.f_neg()?.f_add_scalar(1.0)?)?", "image.f_mul(&mask.f_ones_like()?)?"),
    Bug("latents of a picture not scaled", "src/models/vae/scaling.rs", "Ok(latents.f_mul_scalar(factor)?)", "Ok(latents.f_mul_scalar(1.0 + 0.0 * factor)?)"),
    Bug("statistics not heeded from a picture", "src/pipelines/sdxl.rs", "=> [Scaling::Statistics; 2],", "=> [Scaling::Factor, Scaling::Statistics],"),
    Bug("statistics heeded for inpainting", "src/pipelines/sdxl.rs", "=> [Scaling::Factor, Scaling::Statistics],", "=> [Scaling::Statistics; 2],"),
    Bug("pure noise for a strength of one from a picture", "src/pipelines/latent/start.rs",
        "if matches!(work, Work::Image { .. }) || !is_whole", "if !is_whole"),
    Bug("guidance not rescaled", "src/pipelines/guidance.rs", "if self.rescale > 0.0 {", "if self.rescale > 2.0 {"),
    Bug("rescaled by the spread of the whole batch", "src/pipelines/guidance.rs", "f_std_dim(axes.as_slice(), true, true)", "f_std_dim(axes.as_slice(), false, true)"),
    Bug("guidance of a batch in pairs", "src/pipelines/guidance.rs", "let positive = output.f_narrow(0, pictures, pictures)?;",
        "let positive = output.f_narrow(0, pictures, pictures)?.f_flip([0])?;"),
    Bug("tiles put together without fading", "src/models/vae/tiling.rs", "let length = length.min(size(before)).min(size(after));", "let length = 0 * length;"),
    Bug("rows of zeros on both sides in the encoder", "src/models/vae/encoder.rs", "f_constant_pad_nd([0, 1, 0, 1])", "f_constant_pad_nd([1, 0, 1, 0])"),
    Bug("score of the refiner for the prompt and the negative one swapped", "src/pipelines/sdxl.rs", "[6.0, 2.5]", "[2.5, 6.0]"),
    Bug("Lanczos over two pixels", "src/pictures/resize.rs", "Self::Lanczos => 3.0,", "Self::Lanczos => 2.0,"),
    Bug("crop around the mask not widened to the picture's proportions", "src/pictures/region.rs", "if own > wanted {", "if own < wanted {"),
]

FAILED = re.compile(r"^test (\S+) \.\.\. FAILED", re.MULTILINE)
TOO_FAR = re.compile(r"(\S+)\s+([\d.]+e-?\d+)( relative)? of ([\d.]+e-?\d+)")


def copy_sources(to: Path) -> None:
    """Without their times, so that cargo takes nothing in a kept build folder for up to date."""
    ignore = shutil.ignore_patterns("target", "__pycache__")
    for entry in ("Cargo.toml", "Cargo.lock", "rust-toolchain.toml", "src", "config", "crates", "tests", "benches", "web"):
        source = ROOT / entry
        if source.is_dir():
            shutil.copytree(source, to / entry, ignore=ignore, copy_function=shutil.copyfile)
        elif source.exists():
            shutil.copyfile(source, to / entry)


def test(work: Path, target: Path) -> str:
    command = ["cargo", "test", "--package", "easel-engine", "--no-fail-fast", *(f"--test={name}" for name in TESTS)]
    done = subprocess.run(command, cwd=work, env={**os.environ, "CARGO_TARGET_DIR": str(target)}, text=True, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if "test result:" not in done.stdout:
        sys.exit(f"the tests did not run:\n{done.stdout[-3000:]}")
    return done.stdout


def caught(output: str) -> tuple[list[str], str]:
    """The tests that failed, and the number that lies furthest beyond its limit."""
    failed = sorted(set(FAILED.findall(output)))
    excess = [(float(difference) / float(limit), f"{name} {difference}{sort}") for name, difference, sort, limit in
              TOO_FAR.findall(output) if float(limit) > 0 and float(difference) > float(limit)]
    return failed, max(excess)[1] if excess else ""


def in_words(failed: list[str]) -> str:
    """`base::unet` and its siblings as one entry."""
    kinds: dict[str, list[str]] = {}
    for name in failed:
        fixture, _, kind = name.rpartition("::")
        kinds.setdefault(kind if fixture else name, []).append(fixture)
    words = [f"`{kind}`" + (f" of {', '.join(fixtures)}" if fixtures[0] else "") for kind, fixtures in sorted(kinds.items())]
    return "; ".join(words) or "**nothing**"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", type=Path, help="build folder, to be kept for another time (default: a temporary one)")
    parser.add_argument("--only", type=int, nargs="*", help="numbers of bugs, from 0")
    arguments = parser.parse_args()
    lost = False
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary) / "easel"
        work.mkdir()
        copy_sources(work)
        target = arguments.target or Path(temporary) / "target"
        failed, _ = caught(test(work, target))
        if failed:
            sys.exit(f"without any bug, these fail already: {', '.join(failed)}")
        print("| bug | caught by | furthest off |\n|---|---|---|", flush=True)
        for i, bug in enumerate(BUGS):
            if arguments.only is not None and i not in arguments.only:
                continue
            path = work / ENGINE / bug.file
            source = path.read_text()
            if source.count(bug.old) != 1:
                print(f"| {bug.name} | **its text is not once in {bug.file}** | |", flush=True)
                lost = True
                continue
            path.write_text(source.replace(bug.old, bug.new))
            failed, furthest = caught(test(work, target))
            path.write_text(source)
            os.utime(path)
            lost |= not failed
            print(f"| {bug.name} | {in_words(failed)} | {furthest} |", flush=True)
    sys.exit(1 if lost else 0)


if __name__ == "__main__":
    main()
