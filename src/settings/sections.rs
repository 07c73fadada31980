//! The sections of the settings. What each key means and its default stand in `config/default.toml`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use serde_json::Value;

use super::public_url::PublicUrl;
use super::{duration, size};
use crate::secret::SecretRef;

/// Every setting of the process.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// How it is reached.
    pub server: Server,
    /// How a provider is chosen.
    pub routing: Routing,
    /// Where state is kept.
    pub storage: Storage,
    /// Which finished pictures are kept for the same request.
    pub cache: Cache,
    /// Where model files are looked for.
    pub library: Library,
    /// How much one caller may ask.
    pub limits: Limits,
    /// Which URLs are fetched, and how far.
    pub fetch: Fetch,
    /// What pictures cost.
    pub costs: Costs,
    /// What is written about it.
    pub log: Log,
    /// The providers by id.
    #[serde(default)]
    pub providers: BTreeMap<String, Provider>,
}

/// `[server]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Where it listens.
    #[serde(deserialize_with = "address")]
    pub address: SocketAddr,
    /// The bearer token of the administrator's routes.
    pub admin_token: Option<SecretRef>,
    /// Where clients reach it; absent: as each request says.
    pub public_url: Option<PublicUrl>,
    /// Names beside the loopback ones that a `Host` or `Origin` header may carry.
    pub allowed_hosts: Vec<String>,
    /// Longest JSON body in bytes.
    #[serde(deserialize_with = "size::deserialize")]
    pub json_limit: usize,
    /// Bytes of bodies held at once, over all requests.
    #[serde(deserialize_with = "size::deserialize")]
    pub body_memory: usize,
    /// Time for a request's line and headers.
    #[serde(deserialize_with = "duration::deserialize")]
    pub header_timeout: Duration,
    /// Time for a whole body.
    #[serde(deserialize_with = "duration::deserialize")]
    pub body_timeout: Duration,
    /// How long an idle connection is kept.
    #[serde(deserialize_with = "duration::deserialize")]
    pub keep_alive: Duration,
    /// Connections held at once.
    pub max_connections: usize,
    /// How long running requests may take to finish after SIGTERM.
    #[serde(deserialize_with = "duration::deserialize")]
    pub drain: Duration,
}

/// `[routing]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Routing {
    /// The provider that leads when a request names nothing.
    #[serde(default)]
    pub default_provider: Option<String>,
    /// The model that leads when a request names nothing.
    #[serde(default)]
    pub default_model: Option<String>,
    /// Whether the next provider is tried, where the request does not say; absent: by what it names.
    #[serde(default)]
    pub fallback: Option<Fallback>,
    /// Soft wishes are hard in every request.
    pub strict: bool,
    /// Time for a whole request, all its attempts included.
    #[serde(deserialize_with = "duration::deserialize")]
    pub deadline: Duration,
}

/// `fallback` in `[routing]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fallback {
    /// The next provider is tried.
    Auto,
    /// It is not.
    Never,
}

/// `[storage]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Storage {
    /// The folder of `state.db`, sockets and caches; expanded when loaded.
    pub data_dir: PathBuf,
    /// Bytes of answers that are kept for requests with an `Idempotency-Key`; 0: none is.
    #[serde(deserialize_with = "size::deserialize")]
    pub answers_max: usize,
    /// Bytes of pictures that are kept for whoever asked for their address; 0: none is.
    #[serde(deserialize_with = "size::deserialize")]
    pub pictures_max: usize,
    /// How long such a picture is kept.
    #[serde(deserialize_with = "duration::deserialize")]
    pub picture_ttl: Duration,
}

/// `[cache]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cache {
    /// Bytes of pictures in all; 0: none is kept.
    #[serde(deserialize_with = "size::deserialize")]
    pub max_bytes: usize,
    /// Bytes of one request's pictures; larger ones are not kept.
    #[serde(deserialize_with = "size::deserialize")]
    pub max_entry: usize,
    /// How long pictures are kept.
    #[serde(deserialize_with = "duration::deserialize")]
    pub ttl: Duration,
}

/// `[library]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Library {
    /// Folders of models; when loaded, those that exist, in order.
    pub roots: Vec<PathBuf>,
}

/// `[costs]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Costs {
    /// A table of prices over the one that is compiled in.
    pub prices: Option<PathBuf>,
}

/// `[limits]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Requests to `/api/*` that one caller may make in a minute; 0: any number.
    pub requests_per_minute: u32,
    /// Requests that one caller may make at once before the rate counts.
    pub burst: u32,
    /// Pictures in one request.
    pub max_images: u32,
    /// Reference images in one request.
    pub max_reference_images: usize,
    /// Characters of a prompt.
    pub max_prompt_chars: usize,
}

/// `[fetch]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fetch {
    /// Whether `http://` URLs are fetched from public addresses.
    pub allow_http: bool,
    /// Origins that are fetched from as they are, with a private address and with `http`.
    pub allowed_origins: Vec<String>,
    /// Largest file in bytes.
    #[serde(deserialize_with = "size::deserialize")]
    pub max_bytes: usize,
    /// Time for one URL with its redirects, to the last byte.
    #[serde(deserialize_with = "duration::deserialize")]
    pub timeout: Duration,
    /// Longest side of a picture in pixels.
    pub max_side: u32,
    /// Most pixels of a picture.
    pub max_pixels: u64,
    /// Redirects that are followed.
    pub max_redirects: usize,
}

/// `[log]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// The least important lines that are written.
    pub level: LogLevel,
    /// How lines look.
    pub format: LogFormat,
    /// Whether prompts are written.
    pub prompts: bool,
}

/// `level` in `[log]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Only failures of Easel.
    Error,
    /// What someone should look at, too.
    Warn,
    /// One line a request, too.
    Info,
    /// Refused requests and decisions, too.
    Debug,
    /// Everything.
    Trace,
    /// Nothing.
    Off,
}

/// `format` in `[log]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Pretty on a terminal, JSON otherwise.
    Auto,
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// `[providers.<id>]`: the gateway's half of a provider's section, the same for all kinds.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// Whether it is there at all; a disabled section needs nothing else.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// The code behind it; required unless disabled.
    #[serde(default)]
    pub kind: Option<String>,
    /// Lower is tried earlier.
    #[serde(default = "last")]
    pub priority: i32,
    /// Its name for people; absent: the id.
    #[serde(default)]
    pub display_name: Option<String>,
    /// A sentence for people.
    #[serde(default)]
    pub description: String,
    /// Other names that requests may use for it.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// The key of the model used when none is named; absent: the kind decides.
    #[serde(default)]
    pub default_model: Option<String>,
    /// How it is asked.
    #[serde(default)]
    pub policy: Policy,
    /// What only its kind understands.
    #[serde(default = "nothing")]
    pub config: Value,
}

/// `policy` of a provider.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Limit of each attempt.
    #[serde(deserialize_with = "duration::deserialize")]
    pub timeout: Duration,
    /// What the turn may take, in place of `[routing] deadline`; absent: the kind decides.
    #[serde(deserialize_with = "duration::deserialize_some")]
    pub deadline: Option<Duration>,
    /// Attempts in all, the first included.
    pub attempts: u32,
    /// First pause before an attempt is repeated.
    #[serde(deserialize_with = "duration::deserialize")]
    pub backoff: Duration,
    /// Upstream calls in a minute; 0: any number.
    pub requests_per_minute: u32,
    /// Upstream calls at once before the rate counts.
    pub burst: u32,
    /// Upstream calls in flight at once; 0: any number.
    pub max_concurrent: u32,
    /// How long an attempt waits for its own turn.
    #[serde(deserialize_with = "duration::deserialize")]
    pub max_wait: Duration,
    /// When repeated failures hold requests back.
    pub breaker: Breaker,
    /// What becomes of the work when its client leaves; absent: the kind decides.
    pub on_disconnect: Option<OnDisconnect>,
}

/// `policy.breaker` of a provider.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Breaker {
    /// Failures one after the other that open it; 0: there is none.
    pub failures: u32,
    /// The part of the calls within `window` that must fail to open it; 0: only `failures` counts.
    pub ratio: f64,
    /// How far back calls count for `ratio`.
    #[serde(deserialize_with = "duration::deserialize")]
    pub window: Duration,
    /// Calls within `window` below which `ratio` says nothing.
    pub min_requests: u32,
    /// How long it stays open at first.
    #[serde(deserialize_with = "duration::deserialize")]
    pub cooldown: Duration,
    /// How long it stays open at most.
    #[serde(deserialize_with = "duration::deserialize")]
    pub max_cooldown: Duration,
}

/// `policy.on_disconnect` of a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnDisconnect {
    /// The work is given up.
    Cancel,
    /// It is finished and kept.
    Finish,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            timeout: Duration::from_mins(1),
            deadline: None,
            attempts: 1,
            backoff: Duration::from_millis(500),
            requests_per_minute: 0,
            burst: 1,
            max_concurrent: 0,
            max_wait: Duration::from_secs(5),
            breaker: Breaker::default(),
            on_disconnect: None,
        }
    }
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            failures: 5,
            ratio: 0.5,
            window: Duration::from_secs(30),
            min_requests: 20,
            cooldown: Duration::from_secs(15),
            max_cooldown: Duration::from_mins(5),
        }
    }
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| {
        D::Error::custom(format!("`{text}` is no address with a port, such as \"127.0.0.1:8080\" or \"[::1]:8080\""))
    })
}

fn yes() -> bool {
    true
}

fn last() -> i32 {
    100
}

fn nothing() -> Value {
    Value::Object(serde_json::Map::new())
}
