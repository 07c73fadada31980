//! `provider-sim`: the stand-in as a program. It reads arguments and waits for a signal; all else is the library's.

mod help;

use std::error::Error;
use std::time::Duration;

use clap::Parser;
use provider_sim::{Behaviour, Fault, Simulator, parse_bytes, parse_duration};
use tokio::signal::unix::{SignalKind, signal};

const ABOUT: &str =
    "Picture services that draw gradients: OpenAI, Runware, Gemini and others, for tests, benches and demos";

/// What can be set from outside.
#[derive(Debug, Parser)]
#[command(version, about = ABOUT, after_help = help::text())]
struct Arguments {
    /// Where to listen; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:9090", value_name = "HOST:PORT")]
    listen: String,
    /// Wait this long before each answer, as real services do (200ms, 5s)
    #[arg(long, default_value = "0ms", value_parser = parse_duration)]
    delay: Duration,
    /// Fail in this way (see the list below)
    #[arg(long)]
    fault: Option<Fault>,
    /// Let the fault meet only the first requests
    #[arg(long, requires = "fault", value_name = "REQUESTS")]
    times: Option<u32>,
    /// Size of pictures for which the request says nothing or "auto" (1024x1024)
    #[arg(long, value_parser = parse_size, value_name = "WxH")]
    size: Option<(u32, u32)>,
    /// Make each encoded picture about this large (900, 64KB, 2MB)
    #[arg(long, value_parser = parse_bytes)]
    bytes: Option<usize>,
    /// Another seed draws other pictures of the same prompts
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Let in only requests with this key
    #[arg(long)]
    key: Option<String>,
    /// Let requests that buy nothing fail in this way: lists of models, Runware's getResponse
    #[arg(long, value_name = "FAULT")]
    lookups: Option<Fault>,
    /// How often an asynchronous task is still being worked on when asked for
    #[arg(long, default_value_t = 0, value_name = "TIMES")]
    pending: u32,
    /// Answer in another form of the same thing, as some servers and proxies do; 0 is the documented one
    #[arg(long, default_value_t = 0, value_name = "FORM")]
    shape: u8,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let behaviour = Behaviour {
        delay: arguments.delay,
        fault: arguments.fault,
        times: arguments.times,
        bytes: arguments.bytes,
        seed: arguments.seed,
        size: arguments.size,
        key: arguments.key,
        lookups: arguments.lookups,
        pending: arguments.pending,
        shape: arguments.shape,
    };
    let simulator = Simulator::bind(&arguments.listen, behaviour)?;
    println!("{}", introduction(&simulator));
    wait_for_signal()?;
    let counts = simulator.counts();
    println!("stopped after {} requests, {} of them abandoned by their client", counts.hits, counts.abandoned);
    Ok(())
}

fn wait_for_signal() -> std::io::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        // As process 1 of a container nothing ends this program by default.
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(())
    })
}

fn introduction(simulator: &Simulator) -> String {
    let base_url = simulator.base_url();
    let address = simulator.address();
    format!(
        r#"provider-sim answers at {base_url}

Easel asks it with this in its configuration:

    [providers.sim]
    kind = "openai_compat"
    priority = 1
    default_model = "any"

    [providers.sim.config]
    base_url = "{base_url}"

    [providers.sim.config.models.any]
    id = "sim-any"
    name = "Stand-in"

Watch it:    curl -s http://{address}/admin
Change it:   curl -s http://{address}/admin -d '{{"fault":"rate-limit:5","times":2,"delay":"200ms"}}'
Reset it:    curl -s -X DELETE http://{address}/admin
"#
    )
}

fn parse_size(text: &str) -> Result<(u32, u32), String> {
    text.split_once('x')
        .and_then(|(width, height)| Some((width.parse().ok()?, height.parse().ok()?)))
        .filter(|(width, height)| (1..=4096).contains(width) && (1..=4096).contains(height))
        .ok_or_else(|| format!("'{text}' is not a size: write it as 1024x1024, up to 4096 a side"))
}
