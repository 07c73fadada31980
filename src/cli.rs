//! The commands of `easel` and what each of them prints.

#![expect(
    clippy::doc_markdown,
    reason = "these sentences are the help text, where backticks would only stand in the way"
)]

use std::error::Error;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use easel::api::openapi;
use easel::app::{self, App};
use easel::settings::{Loaded, Shown, Sources};
use easel::telemetry;
use tokio::signal::unix::{SignalKind, signal};

type Outcome = Result<ExitCode, Box<dyn Error>>;

/// One door to every picture model that you can use.
///
/// Easel picks a provider by a rule that gives the same answer every time (your own machine, or any service that
/// speaks the OpenAI Images API), falls back to the next when one fails, and says what it did.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Examples:
  easel serve                                      serve on 127.0.0.1:8080 with the defaults
  easel serve --config my.toml --listen 0.0.0.0:80 serve with a file of your own
  OPENAI_API_KEY=… easel serve                     serve with a key
  easel config show --origin                       every setting and where it comes from
  curl -s localhost:8080/api/generate-image -H 'content-type: application/json' -d '{\"prompt\":\"a red circle\"}'"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until SIGTERM or SIGINT; a second one ends at once
    Serve {
        #[command(flatten)]
        source: Source,
        /// Address and port to listen on, instead of [server] address
        #[arg(long, value_name = "ADDRESS")]
        listen: Option<String>,
    },
    /// Look at the settings without serving
    #[command(subcommand)]
    Config(ConfigCommand),
    /// The description of the HTTP routes
    #[command(subcommand)]
    Openapi(OpenapiCommand),
    /// Ask a running Easel whether it is alive; exit 0 if so (for containers)
    Healthcheck {
        #[command(flatten)]
        source: Source,
        /// Where it listens, instead of [server] address
        #[arg(long, value_name = "ADDRESS")]
        address: Option<SocketAddr>,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Read and check everything; exit 1 and say what is wrong if something is
    Check {
        #[command(flatten)]
        source: Source,
    },
    /// Print every setting as it stands; secrets only by the name of their variable
    Show {
        #[command(flatten)]
        source: Source,
        /// Say where each value comes from: the defaults, the file, a variable
        #[arg(long)]
        origin: bool,
        /// One JSON object instead of lines
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
enum OpenapiCommand {
    /// Print the OpenAPI document, as served at /api-docs/openapi.json
    Export {
        /// Write it to this file instead
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
struct Source {
    /// A TOML file of settings that differ from the defaults; else the one that EASEL_CONFIG names
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Source {
    fn load(self, listen: Option<String>) -> Result<Loaded, easel::settings::Error> {
        Sources { file: self.config, texts: Vec::new(), environment: true, listen }.load()
    }
}

impl Cli {
    /// Does what the arguments say.
    pub(crate) fn run(self) -> Outcome {
        match self.command {
            Command::Serve { source, listen } => serve(&source.load(listen)?),
            Command::Config(ConfigCommand::Check { source }) => check(&source.load(None)?),
            Command::Config(ConfigCommand::Show { source, origin, json }) => show(&source.load(None)?, origin, json),
            Command::Openapi(OpenapiCommand::Export { out }) => export(out),
            Command::Healthcheck { source, address } => {
                let address = match address {
                    Some(address) => address,
                    None => source.load(None)?.settings.server.address,
                };
                healthcheck(address)
            }
        }
    }
}

fn serve(loaded: &Loaded) -> Outcome {
    telemetry::start(&loaded.settings.log);
    let app = App::build(loaded.settings.clone()).map_err(|error| match error {
        app::Error::Settings(error) => loaded.locate(error).into(),
        app::Error::Bind { .. } => Box::<dyn Error>::from(error),
    })?;
    actix_web::rt::System::new().block_on(async {
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let (mut terminate_again, mut interrupt_again) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let (first, first_seen) = tokio::sync::oneshot::channel::<()>();
        let stop = async {
            tokio::select! { _ = terminate.recv() => {} _ = interrupt.recv() => {} }
            // The run may be over already; then no one listens.
            let _ = first.send(());
        };
        let stop_now = async {
            let _ = first_seen.await;
            // The first signal reached these streams, too.
            tokio::select! { _ = terminate_again.recv() => {} _ = interrupt_again.recv() => {} }
            tokio::select! { _ = terminate_again.recv() => {} _ = interrupt_again.recv() => {} }
        };
        app.run(stop, stop_now).await
    })?;
    Ok(ExitCode::SUCCESS)
}

fn check(loaded: &Loaded) -> Outcome {
    let problems = app::check(&loaded.settings).map_err(|error| loaded.locate(error))?;
    for problem in &problems {
        eprintln!("easel: routing: {problem}");
    }
    if !problems.is_empty() {
        return Ok(ExitCode::FAILURE);
    }
    println!("the settings are good: {} providers are enabled", enabled(loaded));
    Ok(ExitCode::SUCCESS)
}

fn enabled(loaded: &Loaded) -> usize {
    loaded.settings.providers.values().filter(|provider| provider.enabled).count()
}

fn show(loaded: &Loaded, origin: bool, json: bool) -> Outcome {
    let shown = loaded.show();
    if json {
        let all: serde_json::Map<_, _> = shown.into_iter().map(|one| (one.key.clone(), described(&one))).collect();
        println!("{}", serde_json::to_string_pretty(&all)?);
        return Ok(ExitCode::SUCCESS);
    }
    for one in shown {
        let set = match one.secret_set {
            Some(true) => "  (set)",
            Some(false) => "  (not set)",
            None => "",
        };
        let from = if origin { format!("  # {}", one.origin) } else { String::new() };
        println!("{} = {}{set}{from}", one.key, one.value);
    }
    Ok(ExitCode::SUCCESS)
}

fn described(one: &Shown) -> serde_json::Value {
    let mut value = serde_json::json!({ "value": one.value, "origin": one.origin });
    if let (Some(set), Some(object)) = (one.secret_set, value.as_object_mut()) {
        object.insert("set".to_owned(), set.into());
    }
    value
}

fn export(out: Option<PathBuf>) -> Outcome {
    let document = openapi::rendered();
    match out {
        Some(path) => std::fs::write(&path, document).map_err(|error| format!("{}: {error}", path.display()))?,
        None => std::io::stdout().write_all(document.as_bytes())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn healthcheck(mut address: SocketAddr) -> Outcome {
    let limit = Duration::from_secs(3);
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() });
    }
    let mut stream = TcpStream::connect_timeout(&address, limit).map_err(|error| format!("{address}: {error}"))?;
    stream.set_read_timeout(Some(limit))?;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut status = [0; 12];
    stream.read_exact(&mut status)?;
    if status.ends_with(b" 200") {
        return Ok(ExitCode::SUCCESS);
    }
    Err(format!("{address}: {}", String::from_utf8_lossy(&status)).into())
}
