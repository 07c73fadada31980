//! A job's stream of events, from the first line to the last.

use std::collections::HashMap;

use easel_engine_protocol::{AdapterReport, EngineError, Event};
use reqwest::{Response, StatusCode};

use super::error::{engine_ended, not_understood, of_engine};
use super::places::Places;
use crate::container;
use crate::generation::{GeneratedImage, Generation, ImageFormat, ImageSize, Lora, LoraReport, PartialImage, Seed};
use crate::providers::{Call, Error};

/// Longest line: one large picture in base64.
const MAX_LINE: usize = 256 << 20;

/// Reads the answer to a job to its end. Dropping the future closes the connection, which cancels the job.
/// `loras` are the adapters that the job was made of.
pub(super) async fn read(
    response: Response,
    places: &Places,
    loras: &[Lora],
    call: &Call,
) -> Result<Generation, Error> {
    if response.status() == StatusCode::OK {
        return read_events(Lines::new(response), places, loras, call).await;
    }
    let body = response.bytes().await.map_err(|error| engine_ended().with_source(error.without_url()))?;
    Err(match serde_json::from_slice::<EngineError>(&body) {
        Ok(error) => of_engine(&error, places),
        Err(_) => not_understood("an error that is none"),
    })
}

async fn read_events(mut lines: Lines, places: &Places, loras: &[Lora], call: &Call) -> Result<Generation, Error> {
    let mut generation = Generation { cost_usd: Some(0.0), ..Generation::default() };
    let mut shown = HashMap::new();
    while let Some(line) = lines.next().await? {
        let event = serde_json::from_slice::<Event>(line).map_err(|_| not_understood("a line that is no event"))?;
        match event {
            Event::Queued { .. } | Event::Loading | Event::Step { .. } => {}
            Event::Preview { image, png_base64, .. } => {
                let step = shown.entry(image).or_insert(0_u32);
                // A preview that cannot be read is not worth a failure: the picture is still to come.
                if let Some(preview) = preview(&png_base64) {
                    call.show_partial(PartialImage { index: image, step: *step, image: preview });
                    *step += 1;
                }
            }
            Event::Warning { message } => generation.warnings.push(places.hide(&message)),
            Event::Adapters { adapters } => generation.loras = loras.iter().zip(adapters).map(met).collect(),
            Event::Image { image, seed, width, height, png_base64 } => {
                if usize::try_from(image).ok() != Some(generation.images.len()) {
                    return Err(not_understood("pictures out of order"));
                }
                let bytes = base64_simd::STANDARD.decode_to_vec(png_base64).map_err(|_| not_understood("no base64"))?;
                generation.images.push(GeneratedImage {
                    data: bytes.into(),
                    format: ImageFormat::Png,
                    size: ImageSize::new(width, height).ok_or_else(|| not_understood("a picture without a size"))?,
                    seed: Seed::new(seed),
                });
            }
            Event::Done { timings } => {
                tracing::debug!(?timings, pictures = generation.images.len(), "the engine is done");
                return Ok(generation);
            }
            Event::Failed { error } => return Err(of_engine(&error, places)),
        }
    }
    // A stream that ends without its last event was cut off.
    Err(engine_ended())
}

/// How an adapter met the model, by the name that the caller has for it.
fn met((lora, report): (&Lora, AdapterReport)) -> LoraReport {
    let AdapterReport { matched, total, components: _, unmatched } = report;
    LoraReport {
        lora: lora.clone(),
        matched,
        total,
        unmatched: unmatched.into_iter().map(|layer| layer.name).collect(),
    }
}

fn preview(png_base64: &str) -> Option<GeneratedImage> {
    let bytes = base64_simd::STANDARD.decode_to_vec(png_base64).ok()?;
    let size = container::identify(&bytes).ok()?.size;
    Some(GeneratedImage { data: bytes.into(), format: ImageFormat::Png, size, seed: None })
}

/// The lines of an answer that is still arriving.
struct Lines {
    response: Response,
    buffer: Vec<u8>,
    /// Bytes at the front of the buffer that were handed out.
    taken: usize,
    /// Bytes in which no line ends, as far as was looked.
    searched: usize,
}

impl Lines {
    fn new(response: Response) -> Self {
        Self { response, buffer: Vec::new(), taken: 0, searched: 0 }
    }

    /// The next line without its end; `None` after the last.
    async fn next(&mut self) -> Result<Option<&[u8]>, Error> {
        self.buffer.drain(..self.taken);
        (self.taken, self.searched) = (0, 0);
        loop {
            let fresh = self.buffer.get(self.searched..).unwrap_or_default();
            if let Some(at) = memchr::memchr(b'\n', fresh) {
                let end = self.searched + at;
                self.taken = end + 1;
                return Ok(self.buffer.get(..end));
            }
            self.searched = self.buffer.len();
            if self.searched > MAX_LINE {
                return Err(not_understood("a line without an end"));
            }
            let chunk = self.response.chunk().await;
            match chunk.map_err(|error| engine_ended().with_source(error.without_url()))? {
                Some(chunk) => self.buffer.extend_from_slice(&chunk),
                None => return Ok(None),
            }
        }
    }
}
