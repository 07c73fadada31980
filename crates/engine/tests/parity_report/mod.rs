//! How far numbers are from those of diffusers, told line by line. It knows no fixture and no limit.

use tch::{Kind, Tensor};

/// How far the engine is from a fixture: a line for each tensor compared.
#[derive(Debug, Default)]
pub struct Report {
    pub lines: Vec<String>,
    pub wrong: Vec<String>,
}

impl Report {
    /// Compares by the largest absolute difference.
    pub fn absolute(&mut self, name: &str, ours: &Tensor, theirs: &Tensor, limit: f64) {
        let difference = difference(name, ours, theirs);
        self.note(name, difference, limit, "");
    }

    /// Compares by the largest difference over the largest number.
    pub fn relative(&mut self, name: &str, ours: &Tensor, theirs: &Tensor, limit: f64) {
        let size = theirs.abs().max().double_value(&[]).max(f64::MIN_POSITIVE);
        let difference = difference(name, ours, theirs) / size;
        self.note(name, difference, limit, " relative");
    }

    fn note(&mut self, name: &str, difference: f64, limit: f64, sort: &str) {
        let line = format!("{name:32} {difference:.2e}{sort} of {limit:.0e}");
        // Not `difference > limit`: a NaN is wrong too.
        if difference <= limit {
            self.lines.push(line);
        } else {
            self.wrong.push(line);
        }
    }

    /// Prints what was right and fails on what was not.
    pub fn finish(self, place: &str) {
        println!("{place}");
        for line in &self.lines {
            println!("  {line}");
        }
        assert!(self.wrong.is_empty(), "{place}: too far from diffusers:\n  {}", self.wrong.join("\n  "));
    }
}

fn difference(name: &str, ours: &Tensor, theirs: &Tensor) -> f64 {
    assert_eq!(ours.size(), theirs.size(), "{name}");
    (ours.to_kind(Kind::Double) - theirs.to_kind(Kind::Double)).abs().max().double_value(&[])
}
