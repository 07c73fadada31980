//! `easel-engine generate`: pictures by the same way that served jobs take.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::process::{self, ExitCode};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use easel_engine_protocol::{
    AdapterReport, EngineError, Event, GenerateJob, InputImage, Lora, ModelSource, Options, PipelineKind, Timings,
};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::args::Generate;
use super::{devices, io_failure, opener, report};
use crate::parts::ModelParts;
use crate::pictures::{self, Backdrop};
use crate::worker::{JobOptions, Worker};
use crate::{Error, Result};

/// The largest seed that every JSON reader keeps whole.
const MAX_DRAWN_SEED: u64 = (1 << 53) - 1;
/// Sides are multiples of it.
const SIDE_MULTIPLE: u32 = 8;

/// What a job gave.
struct Made {
    pictures: Vec<Written>,
    warnings: Vec<String>,
    /// How each adapter met the model, in their order.
    adapters: Vec<AdapterReport>,
    timings: Timings,
}

/// A picture that was written.
struct Written {
    path: PathBuf,
    seed: u64,
    width: u32,
    height: u32,
}

pub(super) fn run(args: &Generate) -> ExitCode {
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

fn make(args: &Generate) -> Result<Made> {
    let job = job(args)?;
    let worker = Worker::start(&devices(args.device)?, args.threads, &opener()).map_err(io_failure("device thread"))?;
    let dump = args.dump.as_ref().map(|dir| dir.join("dump.safetensors"));
    let mut job = worker.submit(job, JobOptions { dump })?;
    let bar = bar(args.steps);
    let mut warnings = Vec::new();
    let mut met = Vec::new();
    let mut pictures = Vec::new();
    while let Some(event) = job.blocking_next() {
        match event {
            Event::Queued { .. } | Event::Preview { .. } => {}
            Event::Loading => bar.set_message("opening the model"),
            Event::Warning { message } => {
                bar.suspend(|| eprintln!("warning: {message}"));
                warnings.push(message);
            }
            Event::Adapters { adapters } => {
                bar.suspend(|| print_adapters(args, &adapters));
                met = adapters;
            }
            Event::Step { step, steps, .. } => {
                bar.set_message("drawing");
                bar.set_length(u64::from(steps));
                bar.set_position(u64::from(step));
            }
            Event::Image { image, seed, width, height, png_base64 } => {
                let png = STANDARD.decode(png_base64).map_err(|error| Error::internal(format!("png: {error}")))?;
                let path = if args.count == 1 { args.out.clone() } else { numbered(&args.out, image + 1) };
                write_whole(&path, &png)?;
                pictures.push(Written { path, seed, width, height });
            }
            Event::Done { timings } => {
                bar.finish_and_clear();
                if pictures.is_empty() {
                    break;
                }
                return Ok(Made { pictures, warnings, adapters: met, timings });
            }
            Event::Failed { error } => {
                bar.finish_and_clear();
                return Err(error.into());
            }
        }
    }
    Err(Error::internal("the job ended without a picture"))
}

fn job(args: &Generate) -> Result<GenerateJob> {
    let model = source(args)?;
    let (image, mask) = (input("--image", args.image.as_deref())?, input("--mask", args.mask.as_deref())?);
    let (width, height) = match (args.width, args.height) {
        (Some(width), Some(height)) => (width, height),
        (width, height) => {
            let (own_width, own_height) = match &image {
                // What a part of a picture is computed in has nothing to do with how large the picture is.
                Some(image) if args.mask_padding.is_none() => size_of(image)?,
                _ => own_size(&model).map(|side| (side, side))?,
            };
            (width.unwrap_or(own_width), height.unwrap_or(own_height))
        }
    };
    let first = args.seed.unwrap_or_else(|| RandomState::new().hash_one(process::id()) & MAX_DRAWN_SEED);
    Ok(GenerateJob {
        negative_prompt: args.negative_prompt.clone(),
        seeds: (0..u64::from(args.count)).map(|i| first.wrapping_add(i)).collect(),
        steps: args.steps,
        guidance_scale: args.guidance_scale,
        width,
        height,
        scheduler: args.scheduler.clone().map(|scheduler| scheduler.0),
        image,
        mask,
        strength: args.strength,
        mask_padding: args.mask_padding,
        loras: args.loras.clone(),
        options: Options {
            clip_skip: args.clip_skip,
            guidance_rescale: args.guidance_rescale,
            strict_loras: args.strict_loras,
            ..Options::default()
        },
        dtype: args.dtype.map(Into::into),
        device: args.device.map(|device| device.to_string()),
        ..GenerateJob::new(model, &args.prompt)
    })
}

/// Where the model lies, and which pipeline drives it.
fn source(args: &Generate) -> Result<ModelSource> {
    let pipeline = match args.pipeline {
        Some(name) => name.into(),
        None => ModelParts::pipeline_of(&args.model)?,
    };
    let mut source = ModelSource::whole(&args.model, pipeline);
    source.base.clone_from(&args.base);
    source.parts.extend(args.parts.iter().cloned());
    Ok(source)
}

/// A picture file as a job brings it.
fn input(flag: &str, path: Option<&Path>) -> Result<Option<InputImage>> {
    let Some(path) = path else { return Ok(None) };
    let file = fs::read(path).map_err(|error| Error::invalid(format!("{flag} {}: {error}", path.display())))?;
    Ok(Some(InputImage(STANDARD.encode(file))))
}

/// Width and height of a picture, rounded down to what can be computed.
fn size_of(image: &InputImage) -> Result<(u32, u32)> {
    let picture = pictures::read("--image", image, Backdrop::White)?;
    let side = |side: u32| (side / SIDE_MULTIPLE * SIDE_MULTIPLE).max(SIDE_MULTIPLE);
    Ok((side(picture.width), side(picture.height)))
}

/// The side of the pictures that the model was trained on: the latents of the `unet`, times what the VAE makes of a latent.
fn own_size(model: &ModelSource) -> Result<u32> {
    /// FLUX's transformer does not say; this is its pipeline's own.
    const SIDE_OF_FLUX: u32 = 1024;
    let parts = ModelParts::open(model)?;
    if model.pipeline == PipelineKind::Flux {
        return Ok(SIDE_OF_FLUX);
    }
    let config = |name: &str| match parts.part(name) {
        Some(part) => Ok(&part.config),
        None => Err(Error::broken(format!("{}: the model has no `{name}`", model.path.display()))),
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

/// `out-2.png` for the second of several.
fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(format!("-{number}"));
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

/// On standard error, before the picture is made: it may be broken off for it. What is left out is told as a warning.
fn print_adapters(args: &Generate, adapters: &[AdapterReport]) {
    for (lora, AdapterReport { matched, total, components, .. }) in args.loras.iter().zip(adapters) {
        let each: Vec<_> = components.iter().map(|(name, layers)| format!("{name} {layers}")).collect();
        let (path, weight) = (lora.path.display(), lora.weight);
        eprintln!("{path}, weight {weight}: {matched} of {total} layers are in the model ({})", each.join(", "));
    }
}

fn print_made(args: &Generate, made: &Made) {
    let Made { pictures, warnings, adapters, timings } = made;
    let object = |Written { path, seed, width, height }: &Written| json!({ "path": path, "seed": seed, "width": width, "height": height });
    if args.json {
        let mut printed = match pictures.as_slice() {
            [picture] => object(picture),
            several => json!({ "pictures": several.iter().map(object).collect::<Vec<_>>() }),
        };
        if let Some(fields) = printed.as_object_mut() {
            fields.insert("warnings".to_owned(), json!(warnings));
            if !adapters.is_empty() {
                let of = |(lora, report): (&Lora, &AdapterReport)| {
                    let mut of = json!(report);
                    if let Some(fields) = of.as_object_mut() {
                        fields.insert("path".to_owned(), json!(lora.path));
                        fields.insert("weight".to_owned(), json!(lora.weight));
                    }
                    of
                };
                fields.insert("loras".to_owned(), args.loras.iter().zip(adapters).map(of).collect());
            }
            fields.insert("timings".to_owned(), json!(timings));
        }
        println!("{printed}");
        return;
    }
    let seconds = Duration::from_millis(timings.encode_ms + timings.denoise_ms + timings.decode_ms).as_secs_f64();
    for Written { path, seed, width, height } in pictures {
        println!("{}: {width}x{height}, seed {seed}, {seconds:.2} s", path.display());
    }
}
