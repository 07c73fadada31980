//! What the gateway itself costs: time from start to ready, memory at rest, processor time per proxied picture, waiting
//! clients, cache hits; each beside nginx, `LiteLLM` and Portkey in the same run. `make bench` prints the numbers and
//! writes `docs/benchmarks/gateway.md`.
//!
//! Only the servers' processor time counts, so the load generator and the stand-in upstream, which run in this
//! process, cost nothing but patience. It measures; it must not judge: targets are printed beside the numbers. A part of
//! it is `cargo bench --bench gateway -- starts` (or `pictures`, `crowd`, `hits`), which writes no page.

mod load;
mod machine;
mod process;
mod report;
mod servers;

use std::error::Error;
use std::time::{Duration, Instant};

use easel::container;
use easel::generation::ImageData;
use provider_sim::{Behaviour, Simulator};
use report::{Figure, Report};
use servers::{Easel, LiteLlm, Nginx, Portkey, Running, Server, Workplace};

/// Starts of Easel and of nginx; the median counts.
const STARTS: usize = 20;
/// Rounds of load for each server and size, alternating; the median counts.
const ROUNDS: usize = 5;
/// A server at rest is looked at after this long.
const SETTLE: Duration = Duration::from_secs(1);

/// A picture to be proxied, how often, and how much processor time each may cost.
struct Picture {
    name: &'static str,
    side: u32,
    bytes: usize,
    requests: usize,
    target: &'static str,
}

impl Picture {
    fn size(&self) -> String {
        format!("{0}x{0}", self.side)
    }
}

const SMALL: Picture = Picture { name: "1 KB", side: 256, bytes: 1 << 10, requests: 10_000, target: "≤ 0.1 ms" };
const LARGE: Picture = Picture { name: "2 MB", side: 1024, bytes: 2 << 20, requests: 150, target: "≤ 2.0 ms" };

/// Requests at once.
const CONCURRENCY: [usize; 2] = [1, 8];

/// Clients who wait for a large picture together, and how long the upstream lets them wait.
const CROWD: usize = 100;
const WAIT: Duration = Duration::from_secs(5);

/// Hits of the cache in a round.
const HITS: usize = 300;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

fn main() -> Outcome {
    let workplace = Workplace::new()?;
    let upstream = Simulator::bind("127.0.0.1:0", Behaviour::default())?;
    let mut report = Report::new();
    let nginx = Nginx::find();
    let (litellm, portkey) = (LiteLlm::find(), Portkey::find());
    for (name, found) in [("nginx", nginx.is_some()), ("LiteLLM", litellm.is_some()), ("Portkey", portkey.is_some())] {
        if !found {
            report.miss(name);
        }
    }
    let mut servers: Vec<&dyn Server> = vec![&Easel::PROXY];
    servers.extend(nginx.as_ref().map(|nginx| nginx as &dyn Server));
    let floor = servers.clone();
    servers.extend(litellm.as_ref().map(|litellm| litellm as &dyn Server));
    servers.extend(portkey.as_ref().map(|portkey| portkey as &dyn Server));

    let only = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let is_wanted = |part: &str| only.as_deref().is_none_or(|only| only == part);
    if is_wanted("starts") {
        measure_starts(&workplace, &upstream, &floor, &mut report)?;
    }
    for picture in [&SMALL, &LARGE].into_iter().filter(|_| is_wanted("pictures")) {
        for concurrency in CONCURRENCY {
            measure_proxying(&workplace, &upstream, &servers, picture, concurrency, &mut report)?;
        }
    }
    if is_wanted("pictures") {
        measure_checking(&upstream, &mut report)?;
    }
    if is_wanted("crowd") {
        measure_crowd(&workplace, &upstream, &servers, &mut report)?;
    }
    if is_wanted("hits") {
        measure_hits(&workplace, &upstream, nginx.as_ref(), &mut report)?;
    }
    print!("{}", report.table());
    if only.is_some() {
        // A part is not the page.
        return Ok(());
    }
    let page = report.write_page()?;
    println!("written to {}", page.display());
    Ok(())
}

fn measure_starts(
    workplace: &Workplace,
    upstream: &Simulator,
    servers: &[&dyn Server],
    report: &mut Report,
) -> Outcome {
    let mut started = Figure::new("start to ready", "ms").with_target("≤ 50 ms");
    let mut at_rest = Figure::new("memory at rest (VmRSS), engine not started", "MB").with_target("≤ 30 MB");
    for server in servers {
        // Easel starts as it comes.
        let server: &dyn Server = if server.name() == Easel::DEFAULT.name() { &Easel::DEFAULT } else { *server };
        let (mut times, mut memories) = (Vec::new(), Vec::new());
        for start in 0..STARTS {
            let running = server.start(workplace, upstream)?;
            times.push(milliseconds(running.ready_after));
            // Memory needs a pause each time, so it is read on a few of the starts only.
            if start % 5 == 0 {
                std::thread::sleep(SETTLE);
                memories.push(running.memory()?);
            }
        }
        started = started.with(server.name(), &times);
        at_rest = at_rest.with(server.name(), &memories);
    }
    report.add(started);
    report.add(at_rest);
    Ok(())
}

fn measure_proxying(
    workplace: &Workplace,
    upstream: &Simulator,
    servers: &[&dyn Server],
    picture: &Picture,
    concurrency: usize,
    report: &mut Report,
) -> Outcome {
    upstream.set(Behaviour::default().with_bytes(picture.bytes));
    let what = format!("processor time per {} picture, {concurrency} at once", picture.name);
    let mut figure = Figure::new(&what, "ms").with_target(picture.target);
    let running: Vec<Running> =
        servers.iter().map(|server| server.start(workplace, upstream)).collect::<Result<_, _>>()?;
    let mut costs = vec![Vec::new(); servers.len()];
    for round in 0..=ROUNDS {
        for ((server, running), costs) in servers.iter().zip(&running).zip(&mut costs) {
            let target = server.target(running, upstream, &picture.size());
            let requests = (picture.requests / server.slowness()).max(concurrency);
            let before = running.processor_time()?;
            load::run(&target, requests, concurrency, picture.bytes)?;
            let spent = running.processor_time()?.saturating_sub(before);
            // The first round warms connections, allocators and caches.
            if round > 0 {
                costs.push(milliseconds(spent) / f64::from(u32::try_from(requests)?));
            }
        }
    }
    for (server, costs) in servers.iter().zip(costs) {
        figure = figure.with(server.name(), &costs);
    }
    report.add(figure);
    Ok(())
}

/// The part of it that goes into checking the picture: its base64, its chunks and their checksums. It is measured in
/// this process, on the very answer that the servers got.
fn measure_checking(upstream: &Simulator, report: &mut Report) -> Outcome {
    upstream.set(Behaviour::default().with_bytes(LARGE.bytes));
    let answer = load::fetch(&servers::direct(upstream, &LARGE.size()))?;
    let text = answer.split(|byte| *byte == b'"').max_by_key(|part| part.len()).unwrap_or_default();
    let picture = ImageData::from_base64(text.to_vec().into());
    let mut samples = Vec::new();
    for _ in 0..LARGE.requests {
        let begun = Instant::now();
        container::walk_data(&picture)?;
        samples.push(milliseconds(begun.elapsed()));
    }
    report.add(Figure::new(&format!("of that, checking a {} picture", LARGE.name), "ms").with("Easel", &samples));
    Ok(())
}

/// Many wait for a large picture, and all of them get it at about the same time.
fn measure_crowd(workplace: &Workplace, upstream: &Simulator, servers: &[&dyn Server], report: &mut Report) -> Outcome {
    upstream.set(Behaviour::slow(WAIT).with_bytes(LARGE.bytes));
    let clients = format!("{CROWD} clients wait {} s for {}", WAIT.as_secs(), LARGE.name);
    let mut later =
        Figure::new(&format!("{clients}: median wait beyond that of a direct one"), "ms").with_target("≤ 200 ms");
    let mut peak = Figure::new(&format!("{clients}: most memory"), "MB").with_target("≤ 300 MB");
    let direct = servers::direct(upstream, &LARGE.size());
    let alone = median_wait(&direct)?;
    for server in servers {
        let running = server.start(workplace, upstream)?;
        let target = server.target(&running, upstream, &LARGE.size());
        let waited = median_wait(&target)?;
        later = later.with(server.name(), &[waited - alone]);
        peak = peak.with(server.name(), &[running.peak_memory()?]);
    }
    report.add(later);
    report.add(peak);
    Ok(())
}

/// The median of two answers for each of the crowd, in milliseconds.
fn median_wait(target: &load::Target) -> Outcome<f64> {
    let mut waits = load::run(target, 2 * CROWD, CROWD, LARGE.bytes)?;
    waits.sort();
    Ok(waits.get(waits.len() / 2).copied().map(milliseconds).unwrap_or_default())
}

/// The same picture again and again from the cache, beside nginx with the very bytes of that answer on disk.
fn measure_hits(workplace: &Workplace, upstream: &Simulator, nginx: Option<&Nginx>, report: &mut Report) -> Outcome {
    upstream.set(Behaviour::default().with_bytes(LARGE.bytes));
    let easel = Easel::PROXY.start(workplace, upstream)?;
    let ours = Easel::seeded(&easel, &LARGE.size());
    load::fetch(&ours)?;
    let before = upstream.hits();
    let answer = load::fetch(&ours)?;
    if upstream.hits() != before {
        return Err("the second answer did not come from the cache".into());
    }
    let body =
        answer.windows(4).position(|end| end == b"\r\n\r\n").and_then(|at| answer.get(at + 4..)).unwrap_or_default();
    let floor = nginx.map(|nginx| nginx.start(workplace, upstream)).transpose()?;
    let theirs = floor.as_ref().map(|running| Nginx::file(workplace, running, body)).transpose()?;
    for concurrency in CONCURRENCY {
        let mut rates = [Vec::new(), Vec::new()];
        let mut costs = [Vec::new(), Vec::new()];
        for round in 0..=ROUNDS {
            let both = [Some((&easel, &ours)), floor.as_ref().zip(theirs.as_ref())];
            for ((peer, rates), costs) in both.into_iter().zip(&mut rates).zip(&mut costs) {
                let Some((running, target)) = peer else { continue };
                let (before, begun) = (running.processor_time()?, Instant::now());
                load::run(target, HITS, concurrency, LARGE.bytes)?;
                let (took, spent) = (begun.elapsed(), running.processor_time()?.saturating_sub(before));
                let hits = f64::from(u32::try_from(HITS)?);
                if round > 0 {
                    rates.push(hits / took.as_secs_f64());
                    costs.push(milliseconds(spent) / hits);
                }
            }
        }
        let [our_rate, floor_rate] = rates;
        let [our_cost, floor_cost] = costs;
        let what = format!("cache hits of {}, {concurrency} at once", LARGE.name);
        let rate = Figure::new(&format!("{what}: a second"), "/s").with_target("≥ 0.8×");
        report.add(rate.with("Easel", &our_rate).with("nginx", &floor_rate));
        let cost = Figure::new(&format!("{what}: processor time of each"), "ms");
        report.add(cost.with("Easel", &our_cost).with("nginx", &floor_cost));
    }
    Ok(())
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
