//! Medians beside their floor: as a table for the terminal and as a page for `docs/benchmarks`.

use std::fmt::Write as _;
use std::path::PathBuf;

use crate::machine;

/// One thing that was measured, of Easel and of nginx.
pub struct Figure {
    what: String,
    unit: &'static str,
    easel: Option<Spread>,
    nginx: Option<Spread>,
    target: &'static str,
}

#[derive(Clone, Copy)]
struct Spread {
    median: f64,
    least: f64,
    most: f64,
}

impl Figure {
    pub fn new(what: &str, unit: &'static str, easel: Vec<f64>, nginx: Vec<f64>) -> Self {
        Self { what: what.to_owned(), unit, easel: Spread::of(easel), nginx: Spread::of(nginx), target: "" }
    }

    pub fn with_target(mut self, target: &'static str) -> Self {
        self.target = target;
        self
    }

    fn cells(&self) -> [String; 5] {
        let cell = |spread: Option<Spread>| spread.map_or_else(|| "absent".to_owned(), |it| it.text(self.unit));
        let ratio = match (self.easel, self.nginx) {
            (Some(easel), Some(nginx)) if nginx.median > 0.0 => {
                format!("{:.2}×", easel.median / nginx.median)
            }
            _ => "–".to_owned(),
        };
        [self.what.clone(), cell(self.easel), cell(self.nginx), ratio, self.target.to_owned()]
    }
}

impl Spread {
    fn of(mut samples: Vec<f64>) -> Option<Self> {
        samples.sort_by(f64::total_cmp);
        let (least, most) = (*samples.first()?, *samples.last()?);
        let upper = *samples.get(samples.len() / 2)?;
        let lower = *samples.get((samples.len() - 1) / 2)?;
        Some(Self { median: f64::midpoint(lower, upper), least, most })
    }

    fn text(self, unit: &str) -> String {
        let places = if self.median < 1.0 { 3 } else { 1 };
        let Self { median, least, most } = self;
        format!("{median:.places$} {unit} ({least:.places$}–{most:.places$})")
    }
}

/// Everything that was measured.
pub struct Report {
    /// What the machine did before.
    load: String,
    figures: Vec<Figure>,
}

const HEADINGS: [&str; 5] = ["measured", "Easel: median (range)", "nginx: median (range)", "ratio", "target"];

impl Report {
    /// Nothing yet; to be made before the measuring makes a load of its own.
    pub fn new() -> Self {
        Self { load: machine::load(), figures: Vec::new() }
    }

    /// Adds a figure and shows it at once, because the whole takes a minute.
    pub fn add(&mut self, figure: Figure) {
        println!("{}", figure.cells().join("  |  "));
        self.figures.push(figure);
    }

    /// Aligned for a terminal.
    pub fn table(&self) -> String {
        let rows: Vec<[String; 5]> =
            std::iter::once(HEADINGS.map(ToOwned::to_owned)).chain(self.figures.iter().map(Figure::cells)).collect();
        let mut widths = [0; 5];
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut text = String::from("\n");
        for row in &rows {
            for (width, cell) in widths.iter().zip(row) {
                let _ = write!(text, "{cell:width$}  ");
            }
            text.push('\n');
        }
        text
    }

    /// Writes the page and says where it lies.
    pub fn write_page(&self) -> std::io::Result<PathBuf> {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/benchmarks");
        std::fs::create_dir_all(&folder)?;
        let page = folder.join("gateway.md");
        let mut text = format!(
            "# What the gateway costs\n\nWritten by `cargo bench --bench gateway` (part of `make bench`); do not edit. \
             Taken on {} on {}; the load average before it was {}.\n\n| {} |\n|---|---|---|---|---|\n",
            machine::today(),
            machine::describe(),
            self.load,
            HEADINGS.join(" | ")
        );
        for figure in &self.figures {
            let _ = writeln!(text, "| {} |", figure.cells().join(" | "));
        }
        text.push_str(METHOD);
        std::fs::write(&page, text)?;
        Ok(page)
    }
}

const METHOD: &str = "
## Method

Release build, everything on the loopback address, both servers in the same run and in turn, each number the median.

- **Start to ready**: from just before the process is made until the first 200 from `/healthz`, asked every quarter of a
  millisecond; 20 starts. Easel starts with its default configuration; nginx with one worker.
- **Memory at rest**: `VmRSS` of all processes of the server, one second after it was ready.
- **Processor time per picture**: user and system time of all processes of the server over a round of requests (10,000 of
  1 KB, 150 of 2 MB), divided by their number; five rounds after one to warm up. The upstream is `provider-sim`, which
  answers at once with PNGs of that size, in base64 as the OpenAI Images API sends them. nginx passes that answer on as it
  is. Easel reads it, decodes the base64, checks the picture to its last checksum, and writes its own answer in base64.
  Both write a line to a log file for each request.
- **Most memory**: `VmHWM` of all processes of the server after two hundred pictures of 2 MB, asked for by a hundred clients
  at once of an upstream that lets each wait for two seconds.
";
