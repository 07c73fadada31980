//! The matrix as a page, and the page that is committed.

use std::fmt::Write as _;
use std::path::Path;

use provider_sim::Vendor;

use crate::matrix::{Cell, Row};
use crate::rule;
use crate::vendors;

/// Set to anything, the page is written instead of compared.
const WRITE: &str = "EASEL_WRITE_FAILURE_MATRIX";

/// Compares the page with the committed one, or writes it.
#[expect(clippy::disallowed_methods, reason = "tests are told by the environment what to do")]
pub fn compare(rows: &[Row]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/failure-matrix.md");
    let page = page(rows);
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(path, page).unwrap();
        return;
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    let differing: Vec<String> = differences(&committed, &page);
    assert!(
        differing.is_empty(),
        "docs/failure-matrix.md is not what happens; `make matrix` writes it anew:\n{}",
        differing.join("\n")
    );
}

fn differences(committed: &str, page: &str) -> Vec<String> {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let (old, new) = (lines(committed), lines(page));
    let gone = old.iter().filter(|line| !new.contains(line)).map(|line| format!("- {line}"));
    let come = new.iter().filter(|line| !old.contains(line)).map(|line| format!("+ {line}"));
    let mut all: Vec<_> = gone.chain(come).collect();
    if all.is_empty() && old != new {
        all.push("the order of the lines".to_owned());
    }
    all
}

fn page(rows: &[Row]) -> String {
    let mut page = format!(
        "# What becomes of failures

Written by `make matrix` from what happens; `make test` compares it. What must be so is checked apart from it
(`tests/failure_matrix/rule.rs`), so that a mistake cannot hide in here.

Each line is two requests through the front door to a provider that has one fault: first with `\"fallback\": \"never\"`,
then with `\"auto\"` and a healthy provider behind it. The provider's policy is {attempts} attempts of {timeout} s each,
the whole request has 3 s, and every answer of this page came in time. `attempts` is as in the answers: what became of
each candidate and how many upstream calls it took. Asked says how often the failing provider and the healthy one were
really asked for pictures, as they counted it: where a pause is asked for that is longer than an attempt may take, or
where asking again is of no use, once. The names of the faults are those of `provider-sim --help`; numbers behind quotas,
refusals and answers without a picture are the vendor's several forms of them.

In every case: no success without all pictures whole and of the asked size, and no key, prompt, address or word of an
upstream in an answer or in the log (at `trace`).
",
        attempts = rule::ATTEMPTS,
        timeout = rule::TIMEOUT.as_secs(),
    );
    for vendor in vendors::ALL {
        let own: Vec<&Row> = rows.iter().filter(|row| row.vendor == vendor).collect();
        let _ = write!(page, "\n## {}\n\n", vendors::title(vendor));
        let shown: Vec<&Row> = if is_dialect(vendor) {
            let differs = |row: &&Row| {
                let same = |other: &&Row| other.vendor == Vendor::OpenAi && other.fault == row.fault;
                rows.iter().find(same).is_none_or(|other| line(other) != line(row))
            };
            let differing: Vec<&Row> = own.iter().copied().filter(differs).collect();
            let _ =
                writeln!(page, "{} of {} faults end in another way than with OpenAI.\n", differing.len(), own.len());
            differing
        } else {
            own
        };
        if shown.is_empty() {
            continue;
        }
        page.push_str("| fault | alone | attempts | asked | with a fallback | attempts | asked | in time |\n");
        page.push_str("|---|---|---|---|---|---|---|---|\n");
        for row in shown {
            page.push_str(&line(row));
        }
    }
    while page.ends_with("\n\n") {
        page.pop();
    }
    page
}

fn is_dialect(vendor: Vendor) -> bool {
    match vendor {
        Vendor::Runware | Vendor::Gemini | Vendor::OpenAi => false,
        Vendor::LocalAi | Vendor::SdCpp | Vendor::Easel | Vendor::Vllm | Vendor::Xai => true,
    }
}

fn line(row: &Row) -> String {
    let Row { fault, alone, with_fallback, .. } = row;
    let in_time = if alone.in_time && with_fallback.in_time { "yes" } else { "no" };
    let [own, _] = alone.hits;
    let [first, second] = with_fallback.hits;
    format!(
        "| `{fault}` | {} | {} | {own} | {} | {} | {first} + {second} | {in_time} |\n",
        ended(alone),
        attempts(alone),
        ended(with_fallback),
        attempts(with_fallback),
    )
}

fn ended(cell: &Cell) -> String {
    if cell.code.is_empty() { format!("{} pictures", cell.status) } else { format!("{} `{}`", cell.status, cell.code) }
}

fn attempts(cell: &Cell) -> String {
    let readable = |attempt: &String| attempt.replace("healthy ", "").replace(" - ", " ");
    cell.attempts.iter().map(readable).collect::<Vec<_>>().join(", ")
}
