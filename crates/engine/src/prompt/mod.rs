//! Prompts as AUTOMATIC1111's web UI reads them: words that weigh more or less, and prompts longer than a text encoder
//! reads, in chunks. Pure: it knows no tokenizer, no tensor and no pipeline.

mod chunks;
mod weights;

pub use chunks::{Chunk, ChunkRules, Piece, chunks};
pub use weights::{Span, parse};
