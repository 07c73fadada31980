//! What can be said on the command line.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args as ArgGroup, Parser, Subcommand, ValueEnum};
use easel_engine_protocol::{Dtype, Lora, PipelineKind};
use serde_json::{Map, Value};

use crate::worker::DeviceName;

/// Diffusion on libtorch: makes pictures from a model folder in diffusers layout or a single file, or serves them over a Unix socket.
#[derive(Debug, Parser)]
#[command(
    version,
    propagate_version = true,
    after_help = "Examples:
  easel-engine generate --model models/shapes --prompt 'a large red circle in the center on a blue background' --out circle.png
  easel-engine generate --model MODEL --prompt 'a castle in the snow' --image castle.png --strength 0.6 --out snow.png
  easel-engine serve --socket /run/user/1000/easel/engine.sock"
)]
pub(super) struct Args {
    /// Which log lines to print on standard error: error, warn, info, debug, or per module as in `easel_engine=debug`.
    /// When left out, `generate` warns only and `serve` also tells what it does.
    #[arg(long, global = true, env = "EASEL_ENGINE_LOG", value_name = "FILTER")]
    log: Option<String>,
    #[command(subcommand)]
    pub(super) command: Command,
}

impl Args {
    /// The log filter that was asked for, or the command's own.
    pub(super) fn log(&self) -> &str {
        let own = match self.command {
            Command::Generate(_) => "warn",
            Command::Serve(_) => "warn,easel_engine=info",
        };
        self.log.as_deref().unwrap_or(own)
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make pictures from a prompt, or from a prompt and a picture, and write them as PNG.
    #[command(visible_alias = "txt2img")]
    Generate(Box<Generate>),
    /// Take jobs over HTTP on a Unix socket until told to stop (SIGTERM, SIGINT).
    Serve(Serve),
}

#[derive(Debug, ArgGroup)]
#[command(
    after_help = "What is not said comes from the model: its own size, its own scheduler. The same seed gives the same \
picture, and starts from the noise of torch.Generator(\"cpu\").manual_seed(SEED) in diffusers.

From a picture: --image, and --strength says how far from it. Only a part of it: --mask too, white where it is repainted. A \
small part of a large picture: --mask-padding too, then only the part is computed, in full resolution, and laid into the \
picture.

  easel-engine generate --model MODEL --prompt 'a red hat' --image portrait.png --mask hat.png --mask-padding 32 --out hat.png

With adapters (LoRA and its kin): --lora, once for each, in the order in which they are applied. How many layers of each \
file the model has is printed; those that it does not have are left out, unless --strict-loras is given.

  easel-engine generate --model MODEL --prompt 'a fox' --lora ink.safetensors:0.8 --lora detail.safetensors --out fox.png"
)]
pub(super) struct Generate {
    /// The model: a folder in diffusers layout, the one that holds `model_index.json`; or a single file.
    #[arg(long, value_name = "PATH")]
    pub(super) model: PathBuf,
    /// A whole model that supplies what `--model` lacks: text encoders, VAE, tokenizers, schedule.
    #[arg(long, value_name = "PATH")]
    pub(super) base: Option<PathBuf>,
    /// One component from a file or folder of its own, in place of the model's: `vae=ae.safetensors`. May be given again.
    #[arg(long = "part", value_name = "NAME=PATH", value_parser = parse_part)]
    pub(super) parts: Vec<(String, PathBuf)>,
    /// Which pipeline drives the model; told from the model when left out.
    #[arg(long)]
    pub(super) pipeline: Option<PipelineName>,
    /// What the picture shows.
    #[arg(long)]
    pub(super) prompt: String,
    /// What it must not show. Left out is not the same as empty: left out, an SDXL model takes zeros; empty is encoded.
    #[arg(long)]
    pub(super) negative_prompt: Option<String>,
    /// Seed of the noise; drawn and printed when left out.
    #[arg(long)]
    pub(super) seed: Option<u64>,
    /// How many pictures, with seeds that follow each other. More than one are written beside `--out`: `out-1.png`, `out-2.png`.
    #[arg(long, short = 'n', visible_alias = "batch", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(super) count: u8,
    /// A picture to begin from (PNG, JPEG or WebP). Of another size, it is brought to --width and --height; transparent parts
    /// are white.
    #[arg(long, value_name = "FILE")]
    pub(super) image: Option<PathBuf>,
    /// Where --image is repainted: white is, black stays.
    #[arg(long, value_name = "FILE", requires = "image")]
    pub(super) mask: Option<PathBuf>,
    /// How far to go from --image, from 0 (not at all) to 1. When left out: 0.3 for SDXL, 0.8 for SD, 0.6 for
    /// FLUX, and nearly or all of it with a mask (but for FLUX).
    #[arg(long, requires = "image")]
    pub(super) strength: Option<f64>,
    /// Compute only what the mask shows and so many pixels around it, as large as --width and --height.
    #[arg(long, value_name = "PIXELS", requires = "mask")]
    pub(super) mask_padding: Option<u32>,
    /// An adapter (LoRA and its kin) and how much of it, 1 being as it was trained, which is also meant when nothing is said;
    /// less than 0 goes the other way. May be given again.
    #[arg(long = "lora", value_name = "PATH[:WEIGHT]", value_parser = parse_lora)]
    pub(super) loras: Vec<Lora>,
    /// Refuse an adapter with layers that the model does not have, and name them all, instead of leaving them out.
    #[arg(long, visible_alias = "strict-lora", requires = "loras")]
    pub(super) strict_loras: bool,
    /// Denoising steps, 1 to 1000.
    #[arg(long, default_value_t = 30)]
    pub(super) steps: u32,
    /// How closely to follow the prompt; up to 1 means no guidance, and half the work.
    #[arg(long, default_value_t = 5.0, allow_negative_numbers = true)]
    pub(super) guidance_scale: f64,
    /// Bring a guided picture's contrast back towards an unguided one's, from 0 (not at all) to 1; 0.7 suits models with
    /// v-prediction.
    #[arg(long, default_value_t = 0.0)]
    pub(super) guidance_rescale: f64,
    /// Leave out so many layers at the end of the text encoders, counted as in diffusers (one less than in other programs).
    #[arg(long)]
    pub(super) clip_skip: Option<u32>,
    /// Width in pixels, a multiple of 8, of 16 for FLUX; the model's own when left out, or that of --image.
    #[arg(long)]
    pub(super) width: Option<u32>,
    /// Height in pixels, a multiple of 8, of 16 for FLUX; the model's own when left out, or that of --image.
    #[arg(long)]
    pub(super) height: Option<u32>,
    /// Another scheduler: a class of diffusers (`EulerDiscreteScheduler`), or a JSON object of keys that replace those of
    /// `scheduler_config.json` (`{"timestep_spacing":"trailing"}`).
    #[arg(long, value_name = "NAME|JSON", value_parser = parse_scheduler)]
    pub(super) scheduler: Option<Scheduler>,
    /// Number type to compute in; when left out, fp32 on the processor, on a GPU fp16, or bf16 for FLUX.
    #[arg(long)]
    pub(super) dtype: Option<DtypeName>,
    /// `cpu` or `cuda:N`; the first GPU when left out, else the processor.
    #[arg(long, value_parser = parse_device)]
    pub(super) device: Option<DeviceName>,
    /// Processor threads for one operation; libtorch's own choice when left out.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(super) threads: Option<u16>,
    /// Where to write the PNG.
    #[arg(long, value_name = "FILE")]
    pub(super) out: PathBuf,
    /// Write token ids, embeddings, every step's latents and the decoded image to DIR/dump.safetensors.
    #[arg(long, value_name = "DIR")]
    pub(super) dump: Option<PathBuf>,
    /// Print one JSON object on standard output instead of a sentence: the picture and its timings, or the error.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, ArgGroup)]
#[command(
    after_help = "Routes: GET /v1/status, POST /v1/generate (answers with one JSON event a line), POST /v1/unload. Try:
  curl --unix-socket /run/user/1000/easel/engine.sock http://engine/v1/status"
)]
pub(super) struct Serve {
    /// The socket to serve on. Only this user can use it; its folder is made, for this user only, if it is not there.
    #[arg(long, value_name = "PATH")]
    pub(super) socket: PathBuf,
    /// Default device of jobs that name none: `cpu` or `cuda:N`; the first GPU when left out, else the processor.
    #[arg(long, value_parser = parse_device)]
    pub(super) device: Option<DeviceName>,
    /// Processor threads for one operation; libtorch's own choice when left out.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(super) threads: Option<u16>,
    /// How much of a device's memory may be used: `cpu=8GiB`, `cuda:0=20GiB`. Can be given for several devices; without it,
    /// what is free.
    #[arg(long, value_name = "DEVICE=SIZE", value_parser = parse_memory)]
    pub(super) memory: Vec<(DeviceName, u64)>,
    /// A folder in which to keep what was learnt of model files (digests); it can be deleted at any time.
    #[arg(long, value_name = "DIR")]
    pub(super) cache: Option<PathBuf>,
    /// Put jobs that wait for the same model, size, steps, scheduler and guidance together, up to so many pictures at once.
    #[arg(long, value_name = "PICTURES", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(super) max_batch: u16,
    /// Stop when standard input ends: so that no engine outlives the process that started it.
    #[arg(long)]
    pub(super) exit_with_stdin: bool,
    /// On SIGTERM, seconds that a running job may take to end before it is cancelled.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = parse_seconds)]
    pub(super) grace: Duration,
}

/// Keys that replace those of the model's scheduler config.
#[derive(Debug, Clone)]
pub(super) struct Scheduler(pub(super) Map<String, Value>);

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum DtypeName {
    Fp32,
    Bf16,
    Fp16,
}

impl From<DtypeName> for Dtype {
    fn from(name: DtypeName) -> Self {
        match name {
            DtypeName::Fp32 => Self::Fp32,
            DtypeName::Bf16 => Self::Bf16,
            DtypeName::Fp16 => Self::Fp16,
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum PipelineName {
    Sdxl,
    Sd,
    Flux,
}

impl From<PipelineName> for PipelineKind {
    fn from(name: PipelineName) -> Self {
        match name {
            PipelineName::Sdxl => Self::Sdxl,
            PipelineName::Sd => Self::Sd,
            PipelineName::Flux => Self::Flux,
        }
    }
}

fn parse_part(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, path)) if !name.is_empty() && !path.is_empty() => Ok((name.to_owned(), path.into())),
        _ => Err(format!("`{text}` is not NAME=PATH, as in vae=ae.safetensors")),
    }
}

/// What stands after the last colon is the weight where it is a number; a colon may also belong to the path.
fn parse_lora(text: &str) -> Result<Lora, String> {
    let lora = |path: &str, weight: f64| Lora { path: path.into(), weight, text_encoder_weight: None };
    let Some((path, weight)) = text.rsplit_once(':').filter(|(path, _)| !path.is_empty()) else {
        return Ok(lora(text, 1.0));
    };
    match weight.trim().parse::<f64>() {
        Ok(weight) if weight.is_finite() => Ok(lora(path, weight)),
        Err(_) if weight.contains('/') || Path::new(path).extension().is_none() => Ok(lora(text, 1.0)),
        Ok(_) | Err(_) => {
            Err(format!("`{weight}` is not a weight: write PATH or PATH:WEIGHT, as in ink.safetensors:0.8"))
        }
    }
}

fn parse_scheduler(text: &str) -> Result<Scheduler, serde_json::Error> {
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(text).map(Scheduler);
    }
    Ok(Scheduler(Map::from_iter([("_class_name".to_owned(), Value::from(text))])))
}

fn parse_device(text: &str) -> Result<DeviceName, String> {
    text.parse().map_err(|error: crate::Error| error.to_string())
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map_err(|_| format!("`{text}` is not a number of seconds"))?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

/// `cpu=8GiB`.
fn parse_memory(text: &str) -> Result<(DeviceName, u64), String> {
    let (device, size) = text.rsplit_once('=').ok_or_else(|| format!("`{text}` is not DEVICE=SIZE"))?;
    Ok((parse_device(device)?, parse_size(size)?))
}

/// A number of bytes: whole, or with a unit of 1024 (`KiB`, `MiB`, `GiB`, `TiB`) or of 1000 (`kB`, `MB`, `GB`, `TB`).
fn parse_size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit: f64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "kib" | "k" => 1024.0,
        "mib" | "m" => 1024.0 * 1024.0,
        "gib" | "g" => 1024.0 * 1024.0 * 1024.0,
        "tib" | "t" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "tb" => 1e12,
        _ => return Err(format!("`{text}` is not a size; write 8GiB, 500MiB or a number of bytes")),
    };
    let number: f64 = number.parse().map_err(|_| format!("`{text}` is not a size; write 8GiB"))?;
    let bytes = number * unit;
    if !(1.0..1e18).contains(&bytes) {
        return Err(format!("`{text}` is not a size that memory has"));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the range above")]
    let bytes = bytes as u64;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{parse_lora, parse_memory, parse_size};
    use crate::worker::DeviceName;

    #[test]
    fn an_adapter_has_a_weight_where_a_number_follows() {
        for (text, path, weight) in [
            ("ink.safetensors", "ink.safetensors", 1.0),
            ("ink.safetensors:0.8", "ink.safetensors", 0.8),
            ("ink.safetensors:-1", "ink.safetensors", -1.0),
            ("a:b/ink.safetensors", "a:b/ink.safetensors", 1.0),
            ("a:b/ink.safetensors:.5", "a:b/ink.safetensors", 0.5),
            ("odd:name", "odd:name", 1.0),
            ("odd:name:1", "odd:name", 1.0),
            (":2", ":2", 1.0),
        ] {
            let lora = parse_lora(text).unwrap();
            assert_eq!((lora.path.as_path(), lora.weight), (Path::new(path), weight), "{text}");
        }
        for wrong in ["ink.safetensors:", "ink.safetensors:strong", "ink.safetensors:nan", "ink.safetensors:inf"] {
            assert!(parse_lora(wrong).unwrap_err().contains("PATH:WEIGHT"), "{wrong}");
        }
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse_memory("cpu=8GiB"), Ok((DeviceName::Cpu, 8 << 30)));
        assert_eq!(parse_memory("cuda:1=1.5g"), Ok((DeviceName::Cuda(1), 3 << 29)));
        assert_eq!(parse_size("2 MB"), Ok(2_000_000));
        assert_eq!(parse_size("4096"), Ok(4096));
        for wrong in ["cpu", "cpu=", "cpu=8 cats", "cpu=-1", "cpu=0", "cpu=1e5GiB", "warp=8GiB", "=8GiB"] {
            assert!(parse_memory(wrong).is_err(), "{wrong}");
        }
    }
}
