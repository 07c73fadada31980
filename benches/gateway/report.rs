//! Medians beside their floor: as a table for the terminal and as a page for `docs/benchmarks`.

use std::fmt::Write as _;
use std::path::PathBuf;

use crate::machine;

/// The columns, in order.
pub const COLUMNS: [&str; 4] = ["Easel", "nginx", "LiteLLM", "Portkey"];

/// One thing that was measured, of each server.
pub struct Figure {
    what: String,
    unit: &'static str,
    /// By column.
    spreads: [Option<Spread>; COLUMNS.len()],
    target: &'static str,
}

#[derive(Clone, Copy)]
struct Spread {
    median: f64,
    least: f64,
    most: f64,
}

impl Figure {
    pub fn new(what: &str, unit: &'static str) -> Self {
        Self { what: what.to_owned(), unit, spreads: [None; COLUMNS.len()], target: "" }
    }

    /// Puts the samples of the server of this name in.
    pub fn with(mut self, name: &str, samples: &[f64]) -> Self {
        for (column, spread) in COLUMNS.iter().zip(&mut self.spreads) {
            if *column == name {
                *spread = Spread::of(samples);
            }
        }
        self
    }

    pub fn with_target(mut self, target: &'static str) -> Self {
        self.target = target;
        self
    }

    /// What was measured, each server's median and range (of the others with Easel's ratio to it), and the target.
    fn cells(&self) -> Vec<String> {
        let [easel, others @ ..] = &self.spreads;
        let ours = easel.map_or_else(|| "–".to_owned(), |spread| spread.text(self.unit));
        let mut cells = vec![self.what.clone(), ours];
        for other in others {
            cells.push(match (easel, other) {
                (_, None) => "–".to_owned(),
                (Some(easel), Some(other)) if other.median > 0.0 => {
                    format!("{} → {:.2}×", other.text(self.unit), easel.median / other.median)
                }
                (_, Some(other)) => other.text(self.unit),
            });
        }
        cells.push(self.target.to_owned());
        cells
    }
}

impl Spread {
    fn of(samples: &[f64]) -> Option<Self> {
        let mut samples = samples.to_vec();
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
    absent: Vec<&'static str>,
}

fn headings() -> Vec<String> {
    let mut headings = vec!["measured".to_owned()];
    headings.extend(
        COLUMNS.iter().map(
            |column| {
                if *column == "Easel" { (*column).to_owned() } else { format!("{column} → Easel is") }
            },
        ),
    );
    headings.push("target".to_owned());
    headings
}

impl Report {
    /// Nothing yet; to be made before the measuring makes a load of its own.
    pub fn new() -> Self {
        Self { load: machine::load(), figures: Vec::new(), absent: Vec::new() }
    }

    /// Adds a figure and shows it at once, because the whole takes a minute.
    pub fn add(&mut self, figure: Figure) {
        println!("{}", figure.cells().join("  |  "));
        self.figures.push(figure);
    }

    /// Notes a peer that could not be had.
    pub fn miss(&mut self, name: &'static str) {
        println!("{name} is absent: tools/setup_test_env.py installs it where it can be had");
        self.absent.push(name);
    }

    fn absences(&self) -> String {
        if self.absent.is_empty() { String::new() } else { format!(" Absent: {}.", self.absent.join(", ")) }
    }

    /// Aligned for a terminal.
    pub fn table(&self) -> String {
        let rows: Vec<Vec<String>> =
            std::iter::once(headings()).chain(self.figures.iter().map(Figure::cells)).collect();
        let mut widths = vec![0; COLUMNS.len() + 2];
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
             Taken on {} on {}; the load average before it was {}.{}\n\n| {} |\n|{}\n",
            machine::today(),
            machine::describe(),
            self.load,
            self.absences(),
            headings().join(" | "),
            "---|".repeat(COLUMNS.len() + 2),
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

Release build, everything on the loopback address, all servers in the same run and in turn, each number the median of
its samples with their range. \"→\" is the ratio of Easel's median to that server's. The upstream is `provider-sim`, in
the process that measures. nginx, with one worker, passes answers on as they are; LiteLLM (one worker) and Portkey speak
the OpenAI Images API on both sides. Each writes its log to a file.

- **Start to ready**: from just before the process is made until the first 200 from its health route, asked every quarter
  of a millisecond; 20 starts. Easel starts with its default configuration.
- **Memory at rest**: `VmRSS` of all processes of the server, one second after it was ready.
- **Processor time per picture**: user and system time of all processes of the server over a round of requests (10,000 of
  1 KB, 150 of 2 MB; a twentieth of that for LiteLLM, a tenth for Portkey), divided by their number; five rounds after one
  to warm up. The upstream answers at once with PNGs of that size in base64. Easel checks each picture to its last
  checksum.
- **Checking a picture**: wall time of `container::walk_data` on one thread of the measuring process, 150 times.
- **Clients wait**: two hundred pictures of 2 MB, asked for by a hundred clients at once of an upstream that lets each wait
  for five seconds: the median time until an answer is whole, less that of the same load on the upstream itself, and
  `VmHWM` of all processes of the server after it.
- **Cache hits**: the same request with a seed, answered from memory by Easel, beside nginx, which has the very bytes of
  that answer in a file; 300 in a round.
";
