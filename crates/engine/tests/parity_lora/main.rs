//! Adapters and the further readings of prompts: fused weights and pictures as diffusers and PEFT make them, states as
//! transformers makes them, and what is said when something does not fit.

mod fused;
#[expect(dead_code, reason = "fixtures of adapters lie otherwise")]
#[path = "../parity_report/mod.rs"]
mod parity_report;
mod prompts;
mod refused;
mod support;
