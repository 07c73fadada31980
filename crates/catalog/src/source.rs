//! Where a model lies that a configuration names: `file:path` or `hf:org/name[/file]`. Looks, never downloads.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::names::{is_inside, is_plain_name};
use crate::{Error, Result};

/// A model as configurations name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelSource {
    /// `file:path`: a file or folder, relative to one of the library's roots or absolute.
    File(PathBuf),
    /// `hf:org/name[/file]`: a repository on the Hugging Face hub, or one file of it.
    HuggingFace {
        /// Whose it is.
        org: String,
        /// Its name.
        name: String,
        /// One file of it, which may lie in folders; absent, the whole repository.
        file: Option<PathBuf>,
    },
}

/// The answer to "is it here?".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// It is at this path. Whether it can be used is [`crate::verify`]'s to say.
    Found(PathBuf),
    /// It is at none of these paths.
    NotFound {
        /// Where it was looked for, in order.
        looked_in: Vec<PathBuf>,
    },
}

/// Looks for a model under the library's `roots` and in the Hugging Face cache (`hub_cache`: the folder that holds
/// `models--org--name`). An error only when `source` cannot be read.
pub fn find_model(source: &str, roots: &[PathBuf], hub_cache: Option<&Path>) -> Result<Lookup> {
    Ok(source.parse::<ModelSource>()?.find(roots, hub_cache))
}

impl FromStr for ModelSource {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let error = |reason: &str| Error::Source { source_text: text.to_owned(), reason: reason.to_owned() };
        if let Some(path) = text.strip_prefix("file:") {
            let path = Path::new(path);
            let plain = path.is_absolute() || is_inside(path);
            return if plain && path.components().next().is_some() {
                Ok(Self::File(path.to_owned()))
            } else {
                Err(error("`file:` takes an absolute path, or one relative to a library root without `..`"))
            };
        }
        let Some(rest) = text.strip_prefix("hf:") else {
            return Err(error("it begins with neither `file:` nor `hf:`"));
        };
        let mut parts = rest.splitn(3, '/');
        let (Some(org), Some(name)) = (parts.next(), parts.next()) else {
            return Err(error("`hf:` takes `org/name` or `org/name/file`"));
        };
        let file = parts.next().map(PathBuf::from);
        if !is_plain_name(org) || !is_plain_name(name) || file.as_deref().is_some_and(|file| !is_inside(file)) {
            return Err(error("`hf:` takes `org/name` or `org/name/file`, without `..`"));
        }
        Ok(Self::HuggingFace { org: org.to_owned(), name: name.to_owned(), file })
    }
}

impl ModelSource {
    /// Looks for the model; see [`find_model`].
    pub fn find(&self, roots: &[PathBuf], hub_cache: Option<&Path>) -> Lookup {
        let mut looked_in = Vec::new();
        for path in self.places(roots, hub_cache) {
            if path.exists() {
                return Lookup::Found(path);
            }
            looked_in.push(path);
        }
        Lookup::NotFound { looked_in }
    }

    /// Every path at which the model may lie, best first.
    fn places(&self, roots: &[PathBuf], hub_cache: Option<&Path>) -> Vec<PathBuf> {
        match self {
            Self::File(path) if path.is_absolute() => vec![path.clone()],
            Self::File(path) => roots.iter().map(|root| root.join(path)).collect(),
            Self::HuggingFace { org, name, file } => {
                let below = |dir: PathBuf| file.as_ref().map_or_else(|| dir.clone(), |file| dir.join(file));
                let mut places = Vec::new();
                for root in roots {
                    places.push(below(root.join(org).join(name)));
                    places.push(file.as_ref().map_or_else(|| root.join(name), |file| root.join(file)));
                }
                if let Some(cache) = hub_cache {
                    places.push(below(snapshot(&cache.join(format!("models--{org}--{name}")))));
                }
                places
            }
        }
    }
}

/// The snapshot that `refs/main` of a cached repository names; without that name the only snapshot there is (what was
/// fetched by a commit has no name); else a path at which nothing lies.
fn snapshot(repository: &Path) -> PathBuf {
    let snapshots = repository.join("snapshots");
    match fs::read_to_string(repository.join("refs").join("main")) {
        Ok(commit) if is_plain_name(commit.trim()) => snapshots.join(commit.trim()),
        Ok(_) => snapshots.join("main"),
        Err(_) => only_folder(&snapshots).unwrap_or_else(|| snapshots.join("main")),
    }
}

fn only_folder(path: &Path) -> Option<PathBuf> {
    let mut folders =
        fs::read_dir(path).ok()?.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_dir());
    let only = folders.next()?;
    folders.next().is_none().then_some(only)
}

/// The snapshot of a repository in the Hugging Face cache, where `path` is one.
pub(crate) fn snapshot_of(path: &Path) -> Option<PathBuf> {
    let is_repository = path.file_name()?.to_str()?.starts_with("models--") && path.join("snapshots").is_dir();
    Some(snapshot(path)).filter(|snapshot| is_repository && snapshot.is_dir())
}
