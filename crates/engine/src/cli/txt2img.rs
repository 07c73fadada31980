//! `easel-engine txt2img`: one picture, by the same way that served jobs take.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::process::{self, ExitCode};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use easel_catalog::DiffusersFolder;
use easel_engine_protocol::{EngineError, Event, GenerateJob, ModelSource, PipelineKind, Timings};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::args::Txt2img;
use super::{devices, io_failure, opener, report};
use crate::worker::{JobOptions, Worker};
use crate::{Error, Result};

/// The largest seed that every JSON reader keeps whole.
const MAX_DRAWN_SEED: u64 = (1 << 53) - 1;

/// What a job gave.
struct Made {
    seed: u64,
    width: u32,
    height: u32,
    warnings: Vec<String>,
    timings: Timings,
}

pub(super) fn run(args: &Txt2img) -> ExitCode {
    match make(args) {
        Ok(made) => {
            print_made(args, &made);
            ExitCode::SUCCESS
        }
        Err(error) => {
            if args.json {
                println!("{}", json!({ "error": EngineError::from(error.clone()) }));
            }
            report(&error)
        }
    }
}

fn make(args: &Txt2img) -> Result<Made> {
    let job = job(args)?;
    let worker = Worker::start(&devices(args.device)?, args.threads, &opener()).map_err(io_failure("device thread"))?;
    let dump = args.dump.as_ref().map(|dir| dir.join("dump.safetensors"));
    let mut job = worker.submit(job, JobOptions { dump })?;
    let bar = bar(args.steps);
    let mut warnings = Vec::new();
    let mut picture = None;
    while let Some(event) = job.blocking_next() {
        match event {
            Event::Queued { .. } | Event::Preview { .. } => {}
            Event::Loading => bar.set_message("opening the model"),
            Event::Warning { message } => {
                bar.suspend(|| eprintln!("warning: {message}"));
                warnings.push(message);
            }
            Event::Step { step, .. } => {
                bar.set_message("drawing");
                bar.set_position(u64::from(step));
            }
            Event::Image { seed, width, height, png_base64, .. } => picture = Some((seed, width, height, png_base64)),
            Event::Done { timings } => {
                bar.finish_and_clear();
                let Some((seed, width, height, png)) = picture else {
                    break;
                };
                let png = STANDARD.decode(png).map_err(|error| Error::internal(format!("png: {error}")))?;
                write_whole(&args.out, &png)?;
                return Ok(Made { seed, width, height, warnings, timings });
            }
            Event::Failed { error } => {
                bar.finish_and_clear();
                return Err(error.into());
            }
        }
    }
    Err(Error::internal("the job ended without a picture"))
}

fn job(args: &Txt2img) -> Result<GenerateJob> {
    let folder = DiffusersFolder::open(&args.model)?;
    let own_size = if args.width.is_none() || args.height.is_none() { own_size(&folder)? } else { 0 };
    Ok(GenerateJob {
        negative_prompt: args.negative_prompt.clone(),
        seeds: vec![args.seed.unwrap_or_else(|| RandomState::new().hash_one(process::id()) & MAX_DRAWN_SEED)],
        steps: args.steps,
        guidance_scale: args.guidance_scale,
        width: args.width.unwrap_or(own_size),
        height: args.height.unwrap_or(own_size),
        scheduler: args.scheduler.clone().map(|scheduler| scheduler.0),
        dtype: args.dtype.map(Into::into),
        device: args.device.map(|device| device.to_string()),
        ..GenerateJob::new(ModelSource::whole(&args.model, PipelineKind::Sdxl), &args.prompt)
    })
}

/// The side of the pictures that the model was trained on: the latents of the `unet`, times what the VAE makes of a latent.
fn own_size(folder: &DiffusersFolder) -> Result<u32> {
    let config = |name: &str| match folder.component(name) {
        Some(component) => component.config().map_err(Error::from),
        None => Err(Error::broken(format!("{}: `{name}` is not named in model_index.json", folder.path().display()))),
    };
    let (unet, vae) = (config("unet")?, config("vae")?);
    let latents = unet.get("sample_size").and_then(Value::as_u64);
    let levels = vae.get("block_out_channels").and_then(Value::as_array).map(Vec::len);
    let size = latents
        .zip(levels.and_then(|levels| u32::try_from(levels).ok()?.checked_sub(1)))
        .and_then(|(latents, halvings)| u32::try_from(latents).ok()?.checked_mul(1_u32.checked_shl(halvings)?));
    size.ok_or_else(|| Error::invalid("the model does not say its own size").with_hint("give --width and --height"))
}

fn bar(steps: u32) -> ProgressBar {
    let bar = ProgressBar::new(u64::from(steps));
    // A template that cannot be read would only cost the bar its looks.
    if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} [{elapsed}, {eta} left]") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// Writes beside the file first, so that it is never half there.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let Some(name) = path.file_name() else {
        return Err(Error::invalid(format!("--out {} is not the name of a file", path.display())));
    };
    let mut part = name.to_owned();
    part.push(format!(".{}.part", process::id()));
    let part = path.with_file_name(part);
    let written = fs::write(&part, bytes).and_then(|()| fs::rename(&part, path));
    written.map_err(|error| {
        // The first error is the one to tell; a part that cannot be removed either changes nothing.
        let _ = fs::remove_file(&part);
        Error::internal(format!("--out {}: {error}", path.display()))
    })
}

fn print_made(args: &Txt2img, made: &Made) {
    let Made { seed, width, height, warnings, timings } = made;
    if args.json {
        let object = json!({
            "path": args.out, "seed": seed, "width": width, "height": height, "warnings": warnings, "timings": timings,
        });
        println!("{object}");
    } else {
        let seconds = Duration::from_millis(timings.encode_ms + timings.denoise_ms + timings.decode_ms).as_secs_f64();
        println!("{}: {width}x{height}, seed {seed}, {seconds:.2} s", args.out.display());
    }
}
