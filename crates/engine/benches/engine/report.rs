//! Medians with their spread, as lines for the terminal and as the page `docs/benchmarks/engine.md`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::subject::{Subject, Told};
use super::{Result, machine};

/// What one side gave.
#[derive(Debug, Default)]
pub struct Samples {
    pub step_ms: Vec<f64>,
    /// From opening the model to the end of the first step.
    pub first_ms: Vec<f64>,
    pub picture_ms: Vec<f64>,
    pub peak_mib: Vec<f64>,
}

/// One model, both sides.
#[derive(Debug)]
pub struct Row {
    name: String,
    told: Told,
    /// Who the other side is; empty where there is none.
    pub peer: String,
    pub engine: Samples,
    pub diffusers: Samples,
}

/// What was measured, both sides' medians with their range, the ratio and the target.
pub type Line = [String; 5];

/// What is measured, in which unit, which of the samples it is, and the target.
type What = (&'static str, &'static str, fn(&Samples) -> &[f64], &'static str);

impl Row {
    pub fn new(subject: &Subject) -> Self {
        Self {
            name: subject.name.clone(),
            told: subject.told,
            peer: String::new(),
            engine: Samples::default(),
            diffusers: Samples::default(),
        }
    }

    /// What is told of it.
    fn lines(&self) -> Vec<Line> {
        let step: What = ("a step", "ms", |samples| &samples.step_ms, "≤ 0.90×");
        let large: [What; 3] = [
            ("most memory", "MiB", |samples| &samples.peak_mib, "≤ 0.60×"),
            ("from opening to the end of the first step", "ms", |samples| &samples.first_ms, ""),
            ("a picture of a new process", "ms", |samples| &samples.picture_ms, ""),
        ];
        let [memory, first, _] = large;
        match self.told {
            Told::Steps => vec![self.line(step)],
            Told::All => std::iter::once(step).chain(large).map(|what| self.line(what)).collect(),
            Told::Opening => [first, memory].map(|what| self.line(what)).into(),
        }
    }

    fn line(&self, (what, unit, of, target): What) -> Line {
        let (engine, diffusers) = (Spread::of(of(&self.engine)), Spread::of(of(&self.diffusers)));
        let text = |spread: Option<Spread>| spread.map_or_else(|| "–".to_owned(), |spread| spread.text(unit));
        let ratio = engine.zip(diffusers).map(|(engine, diffusers)| engine.median / diffusers.median);
        [
            format!("{}: {what}", self.name),
            text(engine),
            text(diffusers),
            ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}×")),
            target.to_owned(),
        ]
    }
}

/// A median and its range.
#[derive(Debug, Clone, Copy)]
pub struct Spread {
    median: f64,
    least: f64,
    most: f64,
}

impl Spread {
    pub fn of(samples: &[f64]) -> Option<Self> {
        let mut samples = samples.to_vec();
        samples.sort_by(f64::total_cmp);
        let (least, most) = (*samples.first()?, *samples.last()?);
        let upper = *samples.get(samples.len() / 2)?;
        let lower = *samples.get((samples.len() - 1) / 2)?;
        Some(Self { median: f64::midpoint(lower, upper), least, most })
    }

    pub fn text(self, unit: &str) -> String {
        let places = if self.median < 100.0 { 2 } else { 0 };
        let Self { median, least, most } = self;
        format!("{median:.places$} {unit} ({least:.places$}–{most:.places$})")
    }
}

/// Everything that was measured.
pub struct Report {
    /// What the machine did before.
    load: String,
    threads: usize,
    rows: Vec<Row>,
    /// What has no other side.
    further: Vec<Line>,
}

impl Report {
    /// Nothing yet; to be made before the measuring makes a load of its own.
    pub fn new(threads: usize) -> Self {
        Self { load: machine::load(), threads, rows: Vec::new(), further: Vec::new() }
    }

    /// Adds a row and shows it at once, because the whole takes minutes.
    pub fn add(&mut self, row: Row) {
        row.lines().iter().for_each(show);
        self.rows.push(row);
    }

    /// Adds what has no other side, and shows it.
    pub fn add_lines(&mut self, lines: Vec<Line>) {
        lines.iter().for_each(show);
        self.further.extend(lines);
    }

    /// Writes the page and says where it lies.
    pub fn write_page(&self, root: &Path) -> Result<PathBuf> {
        let page = root.join("docs/benchmarks/engine.md");
        let peer = self.rows.iter().map(|row| row.peer.as_str()).find(|peer| !peer.is_empty()).unwrap_or("diffusers");
        let mut text = format!(
            "# What pictures cost\n\nWritten by `make bench-engine` (part of `make bench`); do not edit. Taken on {} on {}; the \
             load average before it was {}. The engine of this tree beside {peer}: fp32 on the CPU, {} threads each.\n\n\
             | measured | engine | diffusers | ratio | target |\n|---|---|---|---|---|\n",
            machine::today(),
            machine::describe(),
            self.load,
            self.threads,
        );
        for line in self.rows.iter().flat_map(Row::lines).chain(self.further.iter().cloned()) {
            let _ = writeln!(text, "| {} |", line.join(" | "));
        }
        text.push_str(METHOD);
        std::fs::write(&page, text)?;
        Ok(page)
    }
}

fn show([what, engine, diffusers, ratio, target]: &Line) {
    println!("{what}: engine {engine}, diffusers {diffusers}: {ratio} {target}");
}

const METHOD: &str = "
## Method

Release build. Both sides have the same files, the same number of threads, the same prompt and seed, and classifier-free
guidance where the family has it; the numbers are medians with their range. The models have random weights: those \"in
small\" have the levels, blocks and heads of their family at about half the width and less depth, and are stored in the
number type that people's files of that family have (`tools/bench/make_models.py`). Their files are in the page cache.

- **A step**: from the end of the step before it to its own end, of all steps of all pictures but the first of each. The large
  models make one picture of five steps in each of five new processes, the small ones thirteen pictures of twenty steps in
  one process, of which the first does not count. Both sides make their pictures in turns.
- **Most memory**: the most that the whole process has had in memory up to the end of its first picture (`VmHWM`), for both
  sides with everything they loaded to get there: libraries, weights, working memory. Pages of mapped files count as long as
  they are mapped and have been touched.
- **From opening to the end of the first step**: the time to open the model (`from_pretrained`) and that of the first picture up
  to the end of its first step; neither side's start of the process and its imports.
- **A picture of a new process**: prompt to pixels, without the time to open the model.
- **A single file** has the tensors of the folder model under the names of Stability's own code (`tools/bench/single_file.py`).
  diffusers reads it by `from_single_file` with the folder as its `config`, the engine with the folder as its `base`, for
  the tokenizers; a picture of one step in each of three new processes.
- **A checkpoint of 7 GB** has every name and shape of SDXL 1.0 in half precision, and holes for data. Its header is read and
  checked, the pipeline told that it is for, every tensor's place in the networks found, the networks' configs derived,
  the tokenizers chosen and the file mapped: all that comes before a prompt or a weight is needed. The tokenizers that ship
  are read with the first prompt, once for all models. Measured in eleven new processes, with the resident memory that it
  added after libtorch had computed something.
";
