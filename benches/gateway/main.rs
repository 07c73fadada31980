//! What the gateway itself costs: time from start to ready, memory at rest, and processor time per proxied picture,
//! each beside nginx in the same run. `cargo bench --bench gateway` prints the numbers and writes
//! `docs/benchmarks/gateway.md`.
//!
//! Only the servers' processor time counts, so the load generator and the stand-in upstream, which run in this
//! process, cost nothing but patience. It measures; it must not judge: targets are printed beside the numbers.

mod load;
mod machine;
mod process;
mod report;
mod servers;

use std::error::Error;
use std::time::Duration;

use load::Target;
use provider_sim::{Behaviour, Simulator};
use report::{Figure, Report};
use servers::{Easel, Nginx, Server, Workplace};

/// Starts of each server; the median counts.
const STARTS: usize = 20;
/// Rounds of load for each server and size, alternating; the median counts.
const ROUNDS: usize = 5;
/// A server at rest is looked at after this long.
const SETTLE: Duration = Duration::from_secs(1);

/// A picture to be proxied, and how often.
struct Picture {
    name: &'static str,
    side: u32,
    bytes: usize,
    requests: usize,
}

const PICTURES: [Picture; 2] = [
    Picture { name: "1 KB", side: 256, bytes: 1 << 10, requests: 10_000 },
    Picture { name: "2 MB", side: 1024, bytes: 2 << 20, requests: 150 },
];

/// Clients who wait for a large picture together, and how long the upstream lets them wait.
const CROWD: usize = 100;
const WAIT: Duration = Duration::from_secs(2);

/// Requests at once.
const CONCURRENCY: [usize; 2] = [1, 8];

fn main() -> Result<(), Box<dyn Error>> {
    let workplace = Workplace::new()?;
    let upstream = Simulator::bind("127.0.0.1:0", Behaviour::default())?;
    let nginx = Nginx::find();
    if nginx.is_none() {
        println!("nginx is absent, so nothing is measured beside it: tools/setup_test_env.py nginx installs it");
    }
    let mut report = Report::new();
    measure_starts(&workplace, &upstream, nginx.as_ref(), &mut report)?;
    for picture in &PICTURES {
        for concurrency in CONCURRENCY {
            measure_proxying(&workplace, &upstream, nginx.as_ref(), picture, concurrency, &mut report)?;
        }
    }
    measure_crowd(&workplace, &upstream, nginx.as_ref(), &mut report)?;
    print!("{}", report.table());
    let page = report.write_page()?;
    println!("written to {}", page.display());
    Ok(())
}

fn measure_starts(
    workplace: &Workplace,
    upstream: &Simulator,
    nginx: Option<&Nginx>,
    report: &mut Report,
) -> Result<(), Box<dyn Error>> {
    let mut times: [Vec<f64>; 2] = Default::default();
    let mut memories: [Vec<f64>; 2] = Default::default();
    for start in 0..STARTS {
        // Memory needs a pause each time, so it is read on a few of the starts only.
        let look_at_memory = start % 5 == 0;
        let peers: [Option<&dyn Server>; 2] = [Some(&Easel::DEFAULT), nginx.map(|nginx| nginx as _)];
        for ((peer, times), memories) in peers.into_iter().zip(&mut times).zip(&mut memories) {
            let Some(peer) = peer else { continue };
            let running = peer.start(workplace, upstream)?;
            times.push(running.ready_after.as_secs_f64() * 1e3);
            if look_at_memory {
                std::thread::sleep(SETTLE);
                memories.push(running.memory()?);
            }
        }
    }
    let [easel, floor] = times;
    report.add(Figure::new("start to ready", "ms", easel, floor).with_target("≤ 50 ms"));
    let [easel, floor] = memories;
    report.add(Figure::new("memory at rest (VmRSS), engine not started", "MB", easel, floor).with_target("≤ 30 MB"));
    Ok(())
}

fn measure_proxying(
    workplace: &Workplace,
    upstream: &Simulator,
    nginx: Option<&Nginx>,
    picture: &Picture,
    concurrency: usize,
    report: &mut Report,
) -> Result<(), Box<dyn Error>> {
    upstream.set(Behaviour::default().with_bytes(picture.bytes));
    let size = format!("{0}x{0}", picture.side);
    let ours = format!(r#"{{"prompt":"a fox","size":"{size}"}}"#);
    let theirs = format!(r#"{{"model":"sim-any","prompt":"a fox","size":"{size}"}}"#);
    let easel = Easel::PROXY.start(workplace, upstream)?;
    let nginx = nginx.map(|nginx| nginx.start(workplace, upstream)).transpose()?;
    let mut costs: [Vec<f64>; 2] = Default::default();
    for round in 0..=ROUNDS {
        let peers = [
            Some((&easel, Target { port: easel.port, path: "/api/generate-image", body: &ours })),
            nginx.as_ref().map(|it| (it, Target { port: it.port, path: "/v1/images/generations", body: &theirs })),
        ];
        for (peer, costs) in peers.into_iter().zip(&mut costs) {
            let Some((running, target)) = peer else {
                continue;
            };
            let before = running.processor_time()?;
            let done = load::run(&target, picture.requests, concurrency, picture.bytes);
            done.map_err(|failure| failure.to_string())?;
            let spent = running.processor_time()?.saturating_sub(before);
            // The first round warms connections, allocators and caches.
            if round > 0 {
                costs.push(spent.as_secs_f64() * 1e3 / f64::from(u32::try_from(picture.requests)?));
            }
        }
    }
    let [ours, floor] = costs;
    let what = format!("processor time per {} picture, {concurrency} at once", picture.name);
    report.add(Figure::new(&what, "ms", ours, floor));
    Ok(())
}

/// Many wait for a large picture, and all of them get it at about the same time.
fn measure_crowd(
    workplace: &Workplace,
    upstream: &Simulator,
    nginx: Option<&Nginx>,
    report: &mut Report,
) -> Result<(), Box<dyn Error>> {
    let [_, picture] = &PICTURES;
    upstream.set(Behaviour::slow(WAIT).with_bytes(picture.bytes));
    let size = format!("{0}x{0}", picture.side);
    let ours = format!(r#"{{"prompt":"a fox","size":"{size}"}}"#);
    let theirs = format!(r#"{{"model":"sim-any","prompt":"a fox","size":"{size}"}}"#);
    let measure = |peer: &dyn Server, path, body| -> Result<Vec<f64>, Box<dyn Error>> {
        let running = peer.start(workplace, upstream)?;
        let done = load::run(&Target { port: running.port, path, body }, 2 * CROWD, CROWD, picture.bytes);
        done.map_err(|failure| failure.to_string())?;
        Ok(vec![running.peak_memory()?])
    };
    let easel = measure(&Easel::PROXY, "/api/generate-image", &ours)?;
    let floor = nginx.map(|nginx| measure(nginx, "/v1/images/generations", &theirs)).transpose()?.unwrap_or_default();
    let what = format!("most memory, {CROWD} clients at once wait {} s for {}", WAIT.as_secs(), picture.name);
    report.add(Figure::new(&what, "MB", easel, floor));
    Ok(())
}
