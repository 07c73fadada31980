//! What the process is told: typed settings, layered from the compiled-in `config/default.toml`, a file and the
//! environment.
//!
//! A provider's own `config` is handed on untouched: nothing here knows a kind of provider. Secrets are named, not read.

mod duration;
mod error;
mod load;
mod paths;
mod prices;
mod public_url;
mod sections;
mod show;
mod size;
mod validate;

pub use error::{Error, Problem};
pub use load::{DEFAULTS, Loaded, Sources};
pub use paths::{executable_dirs, hub_cache};
pub use public_url::PublicUrl;
pub use sections::{
    Breaker, Cache, Costs, Fallback, Fetch, Library, Limits, Log, LogFormat, LogLevel, OnDisconnect, Policy, Provider,
    Routing, Server, Settings, Storage,
};
pub use show::Shown;
