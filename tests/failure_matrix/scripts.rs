//! Random scripts of faults: whatever upstreams do, in whatever order, to whatever requests, a few things always hold.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use futures_util::future::join_all;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use provider_sim::{Simulator, Vendor};
use serde_json::{Value, json};

use crate::easel::{Answer, Easel};
use crate::events;
use crate::leaks::{Canaries, KEY, KEY_VARIABLE, PROMPT};
use crate::rule;
use crate::script::{self, House, Script, Wish};
use crate::vendors;

/// Scripts that run at once: they wait most of the time.
const AT_ONCE: usize = 8;
/// How much later than its deadline an answer may come, on a busy machine.
const LATER: Duration = Duration::from_secs(1);
/// How long work may go on that is finished although nobody waits.
const DEADLINE: Duration = Duration::from_secs(3);

/// What all scripts came to.
#[derive(Debug, Default)]
struct Tally {
    scripts: usize,
    calls: usize,
    /// Answers by their code; pictures are `ok`.
    ends: BTreeMap<String, usize>,
}

#[test]
fn whatever_upstreams_do_a_few_things_always_hold() {
    let _turn = crate::TURN.blocking_lock();
    let begun = Instant::now();
    let scripts = crate::number("EASEL_SCRIPTS_COUNT", crate::count(40, 1_000));
    let seed = crate::number("EASEL_SCRIPTS_SEED", 0);
    let tally = Mutex::new(Tally::default());
    let failures: Vec<String> = thread::scope(|scope| {
        let run = |worker: usize| {
            let cases = scripts / AT_ONCE + usize::from(worker < scripts % AT_ONCE);
            let tally = &tally;
            let work = move || runner(seed, worker, cases).run(&script::any(), |script| case(&script, tally));
            thread::Builder::new().name(format!("scripts-{worker}")).spawn_scoped(scope, work).unwrap()
        };
        let workers: Vec<_> = (0..AT_ONCE).map(run).collect();
        workers.into_iter().filter_map(|worker| worker.join().unwrap().err()).map(|error| error.to_string()).collect()
    });
    let tally = tally.into_inner().unwrap();
    let (answers, ends) = (tally.ends.values().sum::<usize>(), &tally.ends);
    println!(
        "report: fault scripts: {} scripts, {answers} requests, {} with pictures, {} other ends, {} upstream calls, in {:.0} s",
        tally.scripts,
        ends.get("ok").copied().unwrap_or_default(),
        ends.len().saturating_sub(1),
        tally.calls,
        begun.elapsed().as_secs_f64()
    );
    println!("{ends:?}");
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    // A run in which nothing goes well, or nothing goes wrong, would show nothing.
    assert!(ends.get("ok").is_some_and(|ok| *ok * 10 > answers) && ends.len() > 5, "{tally:?}");
}

/// The same scripts in every run, so that a failure is there again until it is mended; other ones from another seed.
fn runner(seed: usize, worker: usize, cases: usize) -> TestRunner {
    let cases = u32::try_from(cases).unwrap();
    let config = Config { cases, max_shrink_iters: 150, failure_persistence: None, ..Config::default() };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8] = u8::try_from(worker).unwrap();
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

fn case(script: &Script, tally: &Mutex<Tally>) -> Result<(), TestCaseError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (wrong, calls, ends) = runtime.block_on(play(script));
    let mut tally = tally.lock().unwrap();
    tally.scripts += 1;
    tally.calls += calls;
    for end in ends {
        *tally.ends.entry(end).or_default() += 1;
    }
    if wrong.is_empty() { Ok(()) } else { Err(TestCaseError::fail(wrong.join("\n"))) }
}

fn name(house: usize) -> String {
    format!("house-{house}")
}

fn prompt(wish: usize) -> String {
    format!("{PROMPT} number {wish}.")
}

/// Plays it: what is wrong, how many upstream calls there were, and how each request ended.
async fn play(script: &Script) -> (Vec<String>, usize, Vec<String>) {
    let mut canaries = Canaries::new();
    let mut config = vendors::watched(DEADLINE);
    let mut upstreams = Vec::new();
    for (place, house) in script.houses.iter().enumerate() {
        let upstream = Simulator::start().await;
        canaries.add_address(&upstream);
        upstream.set(house.then.behaviour(KEY, house.lookups));
        upstream.script(house.first.iter().map(|meets| meets.behaviour(KEY, house.lookups)).collect());
        let limits = if house.vendor == Vendor::LocalAi && house.most > 1 {
            // It makes one picture a call, and is not told how many.
            String::new()
        } else {
            format!("max_count = {}", house.most)
        };
        config += &vendors::section(&name(place), house.vendor, &upstream, place + 1, &house.policy(), &limits);
        upstreams.push(upstream);
    }
    let easel = Easel::start_with(&config, &[(KEY_VARIABLE, KEY)]).await;
    let asked = script.wishes.iter().enumerate().map(|(place, wish)| ask(&easel, place, wish));
    let answers = join_all(asked).await;
    let mut wrong = Vec::new();
    if !is_quiet(&easel, &upstreams).await {
        let counts: Vec<_> = upstreams.iter().map(Simulator::counts).collect();
        wrong.push(format!("work goes on although nobody waits: {counts:?}"));
    }
    for (place, (answer, took)) in answers.iter().enumerate() {
        let found = against(script, place, answer, *took, &upstreams);
        let leak = canaries.found_in_answer(answer).map(|leak| format!("it holds {leak:?}"));
        let found: Vec<String> = found.into_iter().chain(leak).collect();
        if !found.is_empty() {
            let mut shown = answer.body.clone();
            shown["images"] = Value::Null;
            wrong.push(format!("request {place}, after {took:?}: {}: {shown}", found.join("; ")));
        }
    }
    for line in easel.log().lines() {
        wrong.extend(canaries.found_in(line).map(|leak| format!("the log holds {leak:?}: {line}")));
    }
    let calls = upstreams.iter().map(Simulator::hits).sum();
    let end = |answer: &Answer| answer.body["code"].as_str().unwrap_or("ok").to_owned();
    (wrong, calls, answers.iter().map(|(answer, _)| end(answer)).collect())
}

async fn ask(easel: &Easel, place: usize, wish: &Wish) -> (Answer, Duration) {
    let (width, height) = wish.size;
    let mut body = json!({
        "prompt": prompt(place), "n": wish.count, "size": format!("{width}x{height}"), "timeout_ms": wish.timeout_ms,
    });
    if let Some(seed) = wish.seed {
        body["seed"] = json!(seed);
    }
    if let Some(house) = wish.named {
        body["provider"] = json!(name(house));
    }
    if let Some(auto) = wish.fallback {
        body["fallback"] = json!(if auto { "auto" } else { "never" });
    }
    if wish.has_image {
        body["image"] = json!(picture(wish.size));
    }
    if let Some(previews) = wish.previews {
        body["stream"] = json!(true);
        body["partial_images"] = json!(previews);
    }
    let begun = Instant::now();
    let answer = easel.generate(&body).await;
    (events::at_once(answer), begun.elapsed())
}

fn picture((width, height): (u32, u32)) -> String {
    let mut file = std::io::Cursor::new(Vec::new());
    image::RgbImage::new(width, height).write_to(&mut file, image::ImageFormat::Png).unwrap();
    base64::engine::general_purpose::STANDARD.encode(file.into_inner())
}

/// Waits until nothing is under way any more, in Easel or at its upstreams.
async fn is_quiet(easel: &Easel, upstreams: &[Simulator]) -> bool {
    let until = Instant::now() + DEADLINE + Duration::from_secs(5);
    while Instant::now() < until {
        let figures = String::from_utf8_lossy(&easel.get("/metrics").await.bytes).into_owned();
        let is_idle = figures.lines().any(|line| line == "easel_flights 0");
        if is_idle && upstreams.iter().all(|upstream| upstream.in_flight() == 0) {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

/// How often this upstream was asked for pictures for this request.
fn hits(upstream: &Simulator, wish: usize) -> usize {
    let prompt = prompt(wish);
    let requests = upstream.requests();
    requests.iter().filter(|request| String::from_utf8_lossy(&request.body).contains(&prompt)).count()
}

/// What is wrong with the answer to this request.
fn against(script: &Script, place: usize, answer: &Answer, took: Duration, upstreams: &[Simulator]) -> Vec<String> {
    let wish = &script.wishes[place];
    let mut wrong = Vec::new();
    if took > Duration::from_millis(wish.timeout_ms) + LATER {
        wrong.push("it came too late".to_owned());
    }
    let code = answer.body["code"].as_str().unwrap_or_default();
    if answer.status == 200 {
        let sizes = answer.pictures();
        if sizes != vec![wish.size; wish.count as usize] {
            wrong.push(format!("a success with {sizes:?}"));
        }
    } else if rule::statuses().get(code) != Some(&answer.status) {
        wrong.push("its code and status are not documented so".to_owned());
    }
    let attempts = answer.body["attempts"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_final = |attempt: &Value| matches!(attempt["reason"].as_str(), Some("content_rejected" | "invalid_request"));
    if let Some(at) = attempts.iter().position(is_final)
        && (at + 1 != attempts.len() || answer.status != 422)
    {
        wrong.push("what is final was not the end".to_owned());
    }
    for (house, upstream) in upstreams.iter().enumerate() {
        let (name, hits) = (name(house), hits(upstream, place));
        let house = &script.houses[house];
        if hits > house.allowed(wish.count) {
            wrong.push(format!("{name} was asked {hits} times, and {} are allowed", house.allowed(wish.count)));
        }
        let own: Vec<&Value> = attempts.iter().filter(|attempt| attempt["provider"] == *name).collect();
        if own.len() > 1 {
            wrong.push(format!("{name} was a candidate {} times", own.len()));
        }
        wrong.extend(against_calls(house, own.first().copied(), hits, code).map(|why| format!("{name}: {why}")));
    }
    wrong
}

/// Whether the calls that are told are those that were made.
fn against_calls(house: &House, attempt: Option<&Value>, hits: usize, code: &str) -> Option<String> {
    let told = attempt.map_or(0, |attempt| attempt["calls"].as_u64().unwrap_or(u64::MAX));
    let told = usize::try_from(told).unwrap_or(usize::MAX);
    let is_late = attempt.is_some_and(|attempt| attempt["reason"] == "timeout");
    // The last call may be given up before it has left, and what is finished goes on when its answer was sent.
    let gave_up = is_late && told == hits + 1;
    let goes_on = house.finishes && code == "deadline_exceeded" && told <= hits;
    let fits = told == hits || gave_up || goes_on;
    (!fits).then(|| format!("{told} calls are told, and {hits} were made"))
}
