//! Every fault of every vendor, alone and with a healthy provider behind it.

use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, stream};
use provider_sim::{Behaviour, Fault, Simulator, Vendor};
use serde_json::json;

use crate::easel::{Answer, Easel};
use crate::events;
use crate::faults;
use crate::leaks::{Canaries, KEY, KEY_VARIABLE, PROMPT};
use crate::rule::{self, Outcome, Rule};
use crate::table;
use crate::vendors;

/// The time for a whole request.
const DEADLINE: Duration = Duration::from_secs(3);
/// How much later an answer may come.
const LATER: Duration = Duration::from_millis(500);
/// Forms of the same answer, beside the documented one, that the stand-in knows.
const SHAPES: u8 = 2;
/// What stands in the place of such a form where previews are wanted, and the answer as events.
const AS_EVENTS: u8 = SHAPES + 1;
/// Faults are had in so many waves, each with stand-ins and an Easel of its own: connections and threads are not endless.
const WAVES: usize = 18;
const WAVES_AT_ONCE: usize = 3;
/// Requests at once in each wave.
const AT_ONCE: usize = 12;

/// What became of one request.
#[derive(Debug, Clone)]
pub struct Cell {
    pub status: u16,
    /// The code of an error; empty for a success.
    pub code: String,
    /// `ok 1`, `failed timeout 2`, …: one for each candidate.
    pub attempts: Vec<String>,
    /// How often the failing provider and the healthy one were asked for pictures.
    pub hits: [usize; 2],
    pub in_time: bool,
}

impl Cell {
    /// Upstream calls that the answer tells of.
    fn calls(&self) -> usize {
        self.attempts.iter().filter_map(|attempt| attempt.rsplit(' ').next()?.parse::<usize>().ok()).sum()
    }
}

/// What became of one fault of one vendor.
#[derive(Debug, Clone)]
pub struct Row {
    pub vendor: Vendor,
    pub fault: Fault,
    pub alone: Cell,
    pub with_fallback: Cell,
}

/// One fault, and a stand-in that has it.
struct Broken {
    fault: Fault,
    upstream: Simulator,
}

/// The providers of one fault of one vendor: after a limit, a provider rests, so each request has its own. One for the
/// fault alone, one with a fallback, and one for each other form of the vendor's answers.
fn names(vendor: Vendor, fault: Fault) -> [String; 2 + AS_EVENTS as usize] {
    let fault = fault.to_string().replace(':', "-");
    ["alone", "first", "shape-1", "shape-2", "events"].map(|name| format!("{}-{fault}-{name}", vendors::word(vendor)))
}

/// Whether its end comes at once.
fn is_quick(fault: Fault) -> bool {
    faults::told_delay(fault).is_none()
        && (Fault::prompt_ones().any(|quick| quick == fault)
            || matches!(fault, Fault::RefusedAs(_) | Fault::QuotaAs(_) | Fault::NoPicture(_) | Fault::Status(_)))
}

async fn start(broken: &[Broken], healthy: &Simulator) -> Easel {
    let mut config = vendors::watched(DEADLINE);
    config += &vendors::section("healthy", Vendor::OpenAi, healthy, 1, "timeout = \"10s\"", "");
    let (timeout, attempts) = (rule::TIMEOUT.as_millis(), rule::ATTEMPTS);
    let policy = format!("timeout = \"{timeout}ms\", attempts = {attempts}, backoff = \"20ms\"");
    for vendor in vendors::ALL {
        let had = faults::of(vendor);
        for Broken { fault, upstream } in broken.iter().filter(|broken| had.contains(&broken.fault)) {
            for name in names(vendor, *fault) {
                config += &vendors::section(&name, vendor, upstream, 1_000, &policy, "");
            }
        }
    }
    Easel::start_with(&config, &[(KEY_VARIABLE, KEY)]).await
}

/// How a request is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Alone,
    WithFallback,
    /// Alone, with a preview.
    AsEvents,
}

/// Sends one request to the provider `name`.
async fn ask(
    easel: &Easel,
    (vendor, broken): (Vendor, &Broken),
    healthy: &Simulator,
    name: &str,
    how: How,
) -> (Cell, Answer) {
    let prompt = format!("{PROMPT} for {name}.");
    let mut wish = vendors::wish(vendor, &prompt);
    wish["provider"] = json!(name);
    wish["fallback"] = json!(if how == How::WithFallback { "auto" } else { "never" });
    if how == How::AsEvents {
        wish["stream"] = json!(true);
        wish["partial_images"] = json!(1);
    }
    wish["timeout_ms"] = json!(DEADLINE.as_millis());
    let begun = Instant::now();
    let answer = events::at_once(easel.generate(&wish).await);
    let took = begun.elapsed();
    let asked = |upstream: &Simulator, vendor| {
        let requests = upstream.requests_of(vendor);
        requests.iter().filter(|request| String::from_utf8_lossy(&request.body).contains(&prompt)).count()
    };
    let least = if how == How::WithFallback { Duration::ZERO } else { rule::pause(vendor, broken.fault) };
    assert!(took >= least, "{name}: asked again after {took:?}, and {least:?} were told");
    let attempts = answer.attempts().into_iter().map(|attempt| attempt.replace(&format!("{name} "), ""));
    let cell = Cell {
        status: answer.status,
        code: answer.body["code"].as_str().unwrap_or_default().to_owned(),
        attempts: attempts.collect(),
        hits: [asked(&broken.upstream, vendor), asked(healthy, Vendor::OpenAi)],
        in_time: took <= DEADLINE + LATER,
    };
    (cell, answer)
}

/// What is wrong with an answer, whichever it is.
fn wrong_with((vendor, fault): (Vendor, Fault), cell: &Cell, answer: &Answer) -> Vec<String> {
    let mut wrong = Vec::new();
    if !cell.in_time {
        wrong.push("it came too late".to_owned());
    }
    if cell.status == 200 {
        let sizes = answer.pictures();
        if sizes.len() != vendors::count(vendor)
            || vendors::size(vendor).is_some_and(|size| sizes.iter().any(|s| *s != size))
        {
            wrong.push(format!("a success with {sizes:?}"));
        }
        return wrong;
    }
    match rule::statuses().get(&cell.code) {
        Some(status) if *status == cell.status => {}
        status => wrong.push(format!("{} with {} is documented as {status:?}", cell.code, cell.status)),
    }
    answer.assert_problem(cell.status, &cell.code);
    let told = answer.header("retry-after").parse::<u32>().ok();
    let asked = rule::tells_delay(vendor, fault).map(|delay| delay.div_ceil(1000));
    // A little of it is over by then, and a date is told in whole seconds.
    if asked.is_some_and(|asked| told.is_none_or(|told| told > asked + 1 || told + 2 < asked)) {
        wrong.push(format!("Retry-After is {told:?}, and the provider asked for {asked:?} s"));
    }
    wrong
}

/// What the rule has against a request without a fallback.
fn against_alone(rule: &Rule, alone: &Cell) -> Vec<String> {
    let ends = match &rule.outcome {
        Outcome::Pictures => alone.status == 200,
        Outcome::Final(code) => alone.code == *code,
        Outcome::MovesOn(codes) => codes.contains(&alone.code.as_str()),
    };
    let checks = [
        ("alone: the end", ends),
        ("alone: hits", rule.hits.contains(&alone.hits[0]) && alone.hits[1] == 0),
        ("alone: the calls that are told are not those that were made", alone.calls() == alone.hits[0]),
    ];
    checks.into_iter().filter(|(_, holds)| !holds).map(|(what, _)| what.to_owned()).collect()
}

/// What the rule has against a row.
fn against(rule: &Rule, row: &Row) -> Vec<String> {
    let Row { alone, with_fallback: both, .. } = row;
    let ends = match &rule.outcome {
        Outcome::Pictures => both.status == 200 && both.hits[1] == 0,
        Outcome::Final(code) => both.code == *code && both.hits[1] == 0,
        Outcome::MovesOn(_) => {
            let second = both.attempts.get(1).map(String::as_str);
            both.status == 200 && both.hits[1] == 1 && second == Some("healthy ok - 1")
        }
    };
    let checks = [
        ("with a fallback: the end", ends),
        ("with a fallback: hits", rule.hits.contains(&both.hits[0])),
        (
            "with a fallback: the calls that are told are not those that were made",
            both.calls() == both.hits[0] + both.hits[1],
        ),
    ];
    let wrong = checks.into_iter().filter(|(_, holds)| !holds).map(|(what, _)| what.to_owned());
    against_alone(rule, alone).into_iter().chain(wrong).collect()
}

/// The requests of one fault of one vendor.
struct Told {
    row: Row,
    /// Why it is not as documented.
    wrong: Vec<String>,
}

/// All requests of some faults, to one Easel.
async fn wave(faults: &[Fault]) -> (Vec<Told>, Counts) {
    let healthy = Simulator::start().await;
    let mut canaries = Canaries::new();
    canaries.add_address(&healthy);
    let mut broken = Vec::new();
    for fault in faults {
        let upstream = Simulator::start().await;
        canaries.add_address(&upstream);
        broken.push(Broken { fault: *fault, upstream });
    }
    let easel = start(&broken, &healthy).await;
    let (easel, healthy, all) = (&easel, &healthy, &broken);
    let pairs = all.iter().flat_map(|broken| {
        let had = move |vendor: &Vendor| faults::of(*vendor).contains(&broken.fault);
        vendors::ALL.into_iter().filter(had).map(move |vendor| (vendor, broken))
    });
    let pairs: Vec<_> = pairs.collect();

    let behave = |shape| {
        for Broken { fault, upstream } in all {
            upstream.set(Behaviour::failing(*fault).with_key(KEY).with_shape(shape));
        }
    };
    behave(0);
    let told = stream::iter(pairs.iter().enumerate()).map(|(place, pair)| async move {
        let names = names(pair.0, pair.1.fault);
        let alone = ask(easel, *pair, healthy, &names[0], How::Alone).await;
        let with_fallback = ask(easel, *pair, healthy, &names[1], How::WithFallback).await;
        (place, alone, with_fallback)
    });
    let mut told: Vec<_> = told.buffer_unordered(AT_ONCE).collect().await;
    told.sort_by_key(|(place, ..)| *place);

    // The other forms of the same answers, where nothing has to be waited for.
    let mut shaped = Vec::new();
    for shape in 1..=AS_EVENTS {
        behave(shape % AS_EVENTS);
        let how = if shape == AS_EVENTS { How::AsEvents } else { How::Alone };
        let quick = pairs.iter().enumerate().filter(|(_, (_, broken))| is_quick(broken.fault));
        let quick: Vec<_> = quick.filter(|(_, (vendor, _))| how == How::Alone || *vendor == Vendor::OpenAi).collect();
        let more = stream::iter(quick).map(|(place, pair)| async move {
            let name = &names(pair.0, pair.1.fault)[1 + usize::from(shape)];
            (place, shape, ask(easel, *pair, healthy, name, how).await)
        });
        shaped.extend(more.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await);
    }
    for shape in 0..=SHAPES {
        behave(shape);
        for (vendor, broken) in &pairs {
            if let Some(request) = broken.upstream.requests_of(*vendor).first() {
                canaries.add_sentences(&broken.upstream, request).await;
            }
        }
    }

    let mut all_told = Vec::new();
    for (place, (alone, first), (with_fallback, second)) in told {
        let (vendor, Broken { fault, .. }) = pairs[place];
        let row = Row { vendor, fault: *fault, alone, with_fallback };
        let rule = rule::of(vendor, *fault);
        let mut wrong = against(&rule, &row);
        for (cell, answer) in [(&row.alone, &first), (&row.with_fallback, &second)] {
            wrong.extend(wrong_with((vendor, *fault), cell, answer));
            wrong.extend(canaries.found_in_answer(answer).map(|leak| format!("an answer holds {leak:?}")));
        }
        for (_, shape, (cell, answer)) in shaped.iter().filter(|(at, ..)| *at == place) {
            let rule = if *shape == AS_EVENTS { rule::of_events(*fault, rule.clone()) } else { rule.clone() };
            let mut found = against_alone(&rule, cell);
            found.extend(wrong_with((vendor, *fault), cell, answer));
            found.extend(canaries.found_in_answer(answer).map(|leak| format!("an answer holds {leak:?}")));
            if !found.is_empty() {
                wrong.push(format!("in shape {shape}, {cell:?}: {}", found.join(", ")));
            }
        }
        all_told.push(Told { row, wrong });
    }
    let log = easel.log();
    for line in log.lines() {
        let leak = canaries.found_in(line).map(|leak| format!("the log holds {leak:?}: {line}"));
        all_told[0].wrong.extend(leak);
    }
    let (canaries, lines) = (canaries.len(), log.lines().count());
    (all_told, Counts { canaries, lines, requests: 2 * pairs.len() + shaped.len() })
}

/// What was done in all.
#[derive(Debug, Default)]
struct Counts {
    canaries: usize,
    lines: usize,
    requests: usize,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_of_every_vendor_ends_as_documented() {
    let _turn = crate::TURN.lock().await;
    let begun = Instant::now();
    let mut counts = Counts::default();
    let mut all = Vec::new();
    let faults = faults::of_all(&vendors::ALL);
    // The slow ones stand together, so they are dealt out like cards.
    let dealt = (0..WAVES).map(|first| faults.iter().copied().skip(first).step_by(WAVES).collect::<Vec<Fault>>());
    let waves = stream::iter(dealt).map(|some| async move { wave(&some).await }).buffer_unordered(WAVES_AT_ONCE);
    for (told, more) in waves.collect::<Vec<_>>().await {
        all.extend(told);
        counts.canaries += more.canaries;
        counts.lines += more.lines;
        counts.requests += more.requests;
    }
    all.sort_by_key(|told| faults.iter().position(|fault| *fault == told.row.fault));
    let (mut rows, mut wrong) = (Vec::new(), Vec::new());
    for Told { row, wrong: why } in all {
        if !why.is_empty() {
            let Row { vendor, fault, alone, with_fallback } = &row;
            wrong.push(format!("{vendor:?} {fault}: {}\n    {alone:?}\n    {with_fallback:?}", why.join("; ")));
        }
        rows.push(row);
    }
    let took = begun.elapsed().as_secs_f64();
    println!(
        "report: failure matrix: {} requests for {} faults of {} vendors in {took:.0} s",
        counts.requests,
        rows.len(),
        vendors::ALL.len()
    );
    assert!(counts.canaries > 200 && counts.lines > counts.requests, "nothing was looked for, or nowhere: {counts:?}");
    assert!(wrong.is_empty(), "{} of {} are not as documented:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
    table::compare(&rows);
}
