//! Low-rank adapters (LoRA and its kin): what a file changes about which tensor of which component, and the changed
//! tensors. Nothing is written to: a component with adapters is another [`Part`](crate::parts::Part), whose changed tensors
//! are its own and whose others are the same bytes of the same files. Knows no pipeline and no prompt.

mod change;
mod digest;
mod family;
mod file;
mod layers;
mod matching;
mod merge;
mod names;
mod patch;
mod patches;
mod piece;
mod report;
mod set;

pub use change::{Change, Stored};
pub use file::AdapterFile;
pub(crate) use patches::OpenPatches;
pub use patches::Patches;
pub use report::{MatchReport, MatchedLayer, Unmatched};
pub use set::AdapterSet;
