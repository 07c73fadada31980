//! Layers the sources and turns them into [`Settings`].

use std::path::{Path, PathBuf};

use figment::error::Kind;
use figment::providers::{Env, Format, Serialized, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::{Error, Problem, Settings, paths, validate};
use crate::nearest::nearest;

/// `config/default.toml` as compiled in: the defaults, and the reference manual of every setting.
pub const DEFAULTS: &str = include_str!("../../config/default.toml");

const PREFIX: &str = "EASEL_";

/// Where settings come from, beside the compiled-in defaults; a later one wins.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// A TOML file; absent: the one that `EASEL_CONFIG` names, if the environment is read.
    pub file: Option<PathBuf>,
    /// TOML texts, after the file.
    pub texts: Vec<String>,
    /// Whether `EASEL_SECTION__KEY` variables are read.
    pub environment: bool,
    /// `[server] address` from the command line.
    pub listen: Option<String>,
}

/// Settings and where each of them comes from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    pub(super) figment: Figment,
}

impl Sources {
    /// Reads, layers and checks everything.
    pub fn load(&self) -> Result<Loaded, Error> {
        let figment = self.layers()?;
        if self.environment {
            refuse_single_underscores(&figment)?;
        }
        let mut settings: Settings = figment.extract().map_err(|errors| explain(&figment, errors))?;
        validate::check(&settings).map_err(|error| locate(&figment, error))?;
        settings.storage.data_dir =
            paths::expand(&settings.storage.data_dir).map_err(|error| locate(&figment, error.into()))?;
        settings.library.roots = paths::roots(&settings.library.roots);
        Ok(Loaded { settings, figment })
    }

    fn layers(&self) -> Result<Figment, Error> {
        let mut figment = Figment::from(Layer::new(Metadata::named("the defaults"), DEFAULTS));
        if let Some(path) = self.file.clone().or_else(|| self.environment.then(file_of_environment).flatten()) {
            let text = std::fs::read_to_string(&path)
                .map_err(|error| Problem::new("", format!("cannot read {}: {error}", path.display())))?;
            figment = figment.merge(Layer::new(Metadata::from("file", Path::new(&path)), &text));
        }
        for text in &self.texts {
            figment = figment.merge(Layer::new(Metadata::named("text"), text));
        }
        if self.environment {
            figment = figment.merge(Env::prefixed(PREFIX).filter(|key| key.as_str().contains("__")).split("__"));
        }
        if let Some(address) = &self.listen {
            figment = figment.merge(Named {
                metadata: Metadata::named("the command line"),
                inner: Serialized::default("server.address", address),
            });
        }
        Ok(figment)
    }
}

impl Loaded {
    /// Where the value at a dotted key comes from.
    pub fn origin(&self, key: &str) -> String {
        origin(&self.figment, key)
    }

    /// The same problems, each with where its value comes from.
    #[must_use]
    pub fn locate(&self, error: Error) -> Error {
        locate(&self.figment, error)
    }
}

/// A layer of TOML under a name of ours.
struct Layer<'a> {
    metadata: Metadata,
    text: &'a str,
}

impl<'a> Layer<'a> {
    fn new(metadata: Metadata, text: &'a str) -> Self {
        Self { metadata, text }
    }
}

impl Provider for Layer<'_> {
    fn metadata(&self) -> Metadata {
        self.metadata.clone()
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Toml::string(self.text).data()
    }
}

/// Another provider of values under a name of ours.
struct Named<P> {
    metadata: Metadata,
    inner: P,
}

impl<P: Provider> Provider for Named<P> {
    fn metadata(&self) -> Metadata {
        self.metadata.clone()
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        self.inner.data()
    }
}

#[expect(clippy::disallowed_methods, reason = "settings is where the environment is read")]
fn file_of_environment() -> Option<PathBuf> {
    std::env::var_os("EASEL_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// `EASEL_ROUTING_STRICT` would be passed over in silence; it is taken for the slip that it is.
#[expect(clippy::disallowed_methods, reason = "settings is where the environment is read")]
fn refuse_single_underscores(figment: &Figment) -> Result<(), Error> {
    for (name, _) in std::env::vars_os() {
        let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else { continue };
        let Some((section, key)) = rest.split_once('_') else { continue };
        let known = figment.find_value(&format!("{section}.{key}").to_lowercase()).is_ok();
        if !rest.contains("__") && known {
            let problem = Problem::new("", format!("{PREFIX}{rest} is not a setting"))
                .with_hint(format!("did you mean {PREFIX}{section}__{key}? a section and its key are joined by two"));
            return Err(problem.into());
        }
    }
    Ok(())
}

/// figment's errors in our words.
fn explain(figment: &Figment, errors: figment::Error) -> Error {
    let problems = errors.into_iter().map(|error| {
        let mut path = error.path.clone();
        let (message, hint) = match &error.kind {
            Kind::UnknownField(field, known) => {
                if path.last() != Some(field) {
                    path.push(field.clone());
                }
                let hint = nearest(field, known.iter().copied()).map_or_else(
                    || format!("known here: {}", known.join(", ")),
                    |near| format!("did you mean `{near}`?"),
                );
                ("unknown key".to_owned(), Some(hint))
            }
            Kind::MissingField(field) => {
                path.push(field.clone().into_owned());
                ("missing".to_owned(), None)
            }
            Kind::UnknownVariant(found, known) => (format!("`{found}` is not one of {}", known.join(", ")), None),
            Kind::Message(message) => (message.clone(), None),
            kind @ (Kind::InvalidType(..)
            | Kind::InvalidValue(..)
            | Kind::InvalidLength(..)
            | Kind::DuplicateField(_)
            | Kind::ISizeOutOfRange(_)
            | Kind::USizeOutOfRange(_)
            | Kind::Unsupported(_)
            | Kind::UnsupportedKey(..)) => (kind.to_string(), None),
        };
        let key = path.join(".");
        let origin = error.metadata.as_ref().map(|metadata| describe(metadata, &key)).unwrap_or_default();
        Problem { key, origin, message, hint }
    });
    locate(figment, Error { problems: problems.collect() })
}

/// Adds to each problem where its value comes from.
fn locate(figment: &Figment, mut error: Error) -> Error {
    for problem in &mut error.problems {
        // A key that is unknown or missing has no value; then its table says where to look.
        let mut key = problem.key.as_str();
        while problem.origin.is_empty() && !key.is_empty() {
            problem.origin = origin(figment, key);
            key = key.rsplit_once('.').map_or("", |(table, _)| table);
        }
    }
    error
}

fn origin(figment: &Figment, key: &str) -> String {
    let Ok(value) = figment.find_value(key) else { return String::new() };
    figment.get_metadata(first_leaf(&value).tag()).map(|metadata| describe(metadata, key)).unwrap_or_default()
}

/// A table is merged from many sources; its first value stands for it.
pub(super) fn first_leaf(value: &Value) -> &Value {
    value.as_dict().and_then(|dict| dict.values().next()).map_or(value, first_leaf)
}

pub(super) fn describe(metadata: &Metadata, key: &str) -> String {
    if let Some(path) = metadata.source.as_ref().and_then(figment::Source::file_path) {
        return path.display().to_string();
    }
    if metadata.name.contains("environment") {
        return format!("{PREFIX}{}", key.to_uppercase().replace('.', "__"));
    }
    metadata.name.clone().into_owned()
}
