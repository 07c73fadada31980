//! The engine in a process of its own, which answers the same orders as `tools/bench/diffusers_peer.py`.

use std::io::{BufRead, Write};
use std::ops::ControlFlow;
use std::time::Instant;

use easel_engine::pipelines::{Observer, Request};
use easel_engine::pool::{Pool, most_resident};
use easel_engine::worker::open_model;
use easel_engine_protocol::{Dtype, ModelSource};
use tch::Device;

use super::Result;
use super::process::{Picture, Ready};
use super::subject::{PROMPT, Subject};

/// Opens the model, says so, and makes a picture for each line until there is none.
pub fn serve(subject: &Subject, threads: i32) -> Result<()> {
    tch::set_num_threads(threads);
    let began = Instant::now();
    let source = ModelSource { base: subject.base.clone(), ..ModelSource::whole(&subject.model, subject.pipeline) };
    let pool = Pool::new(Device::Cpu);
    let pipeline = open_model(&source, Device::Cpu, Dtype::Fp32)?;
    pipeline.load(&pool)?;
    let mut out = std::io::stdout();
    let ready = Ready { ready: "engine".to_owned(), open_ms: since(began) };
    writeln!(out, "{}", serde_json::to_string(&ready)?)?;
    let request = Request {
        prompt: PROMPT.to_owned(),
        seeds: vec![7],
        steps: subject.steps,
        guidance_scale: subject.guidance,
        width: subject.size,
        height: subject.size,
        ..Request::default()
    };
    for line in std::io::stdin().lock().lines() {
        line?;
        let began = Instant::now();
        let mut ends = Ends(Vec::new());
        pipeline.generate(&request, &pool, &mut ends)?;
        let picture = Picture {
            first_ms: ends.0.first().map_or(0.0, |end| (*end - began).as_secs_f64() * 1e3),
            whole_ms: since(began),
            step_ms: ends.0.iter().zip(ends.0.iter().skip(1)).map(|(a, b)| (*b - *a).as_secs_f64() * 1e3).collect(),
            peak_kib: most_resident().ok_or("the kernel does not say")? >> 10,
        };
        writeln!(out, "{}", serde_json::to_string(&picture)?)?;
    }
    Ok(())
}

fn since(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1e3
}

/// When each step ended.
struct Ends(Vec<Instant>);

impl Observer for Ends {
    fn step(&mut self, _: u32, _: u32, _: u32) -> ControlFlow<()> {
        self.0.push(Instant::now());
        ControlFlow::Continue(())
    }
}
