//! The left edge of Easel, asked over HTTP.

#![cfg(test)]

mod costs;
mod edge;
mod errors;
mod generate;
mod layers;
mod openapi;
mod test_app;
