//! Adapters by the names that requests use: declared ones, and files in the folder `loras` of a library root.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use easel_catalog::{Lookup, find_model};
use strsim::jaro_winkler;

use super::digest;
use super::library::Library;
use crate::providers::{Error, ErrorKind};

/// The folder of a library root.
const FOLDER: &str = "loras";
/// What adapters' files end in.
const EXTENSIONS: [&str; 3] = ["safetensors", "pt", "ckpt"];
/// What PEFT writes beside an adapter: it says how strongly the adapter acts.
const CONFIG: &str = "adapter_config.json";
/// Names that are looked through for those nearest to an unknown one.
const MOST_NAMES: usize = 5000;

/// Where adapters are found.
#[derive(Debug)]
pub(super) struct Adapters {
    declared: BTreeMap<String, PathBuf>,
    folders: Vec<PathBuf>,
}

impl Adapters {
    /// The error is the name of a declared one and why its place cannot be read.
    pub fn new(declared: &BTreeMap<String, String>, library: &Library<'_>) -> Result<Self, (String, String)> {
        let mut places = BTreeMap::new();
        for (name, source) in declared {
            let lookup = find_model(source, library.roots, library.hub_cache);
            let path = match lookup.map_err(|error| (name.clone(), error.to_string()))? {
                Lookup::Found(path) => path,
                // It may come while Easel runs; until then a request for it is told that it is not there.
                Lookup::NotFound { looked_in } => looked_in.into_iter().next().unwrap_or_default(),
            };
            places.insert(name.clone(), path);
        }
        Ok(Self { declared: places, folders: library.roots.iter().map(|root| root.join(FOLDER)).collect() })
    }

    /// The file of the adapter of this name. Looked for anew each time: adapters come and go while Easel runs.
    pub fn find(&self, name: &str) -> Result<PathBuf, Error> {
        self.place(name).ok_or_else(|| self.unknown(name))
    }

    /// What the adapter of this name is now, if there is one.
    pub fn digest(&self, name: &str) -> Option<String> {
        // A link that is led elsewhere is another adapter, even where both have the same size and time.
        let file = fs::canonicalize(self.place(name)?).ok()?;
        let config = file.with_file_name(CONFIG);
        let place = file.to_string_lossy();
        Some(digest::of([(&*place, file.as_path()), (CONFIG, config.as_path())].into_iter()))
    }

    fn place(&self, name: &str) -> Option<PathBuf> {
        self.declared.get(name).cloned().into_iter().chain(self.places(name)).find(|path| path.is_file())
    }

    /// Where a file of this name may lie; nowhere when the name leads out of the folder.
    fn places(&self, name: &str) -> Vec<PathBuf> {
        let inside = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
        if !inside || name.contains('\0') {
            return Vec::new();
        }
        let mut places = Vec::new();
        for folder in &self.folders {
            let file = folder.join(name);
            if file.extension().is_some_and(|found| EXTENSIONS.iter().any(|known| found == *known)) {
                places.push(file.clone());
            }
            places.extend(EXTENSIONS.iter().map(|extension| folder.join(format!("{name}.{extension}"))));
        }
        places
    }

    fn unknown(&self, name: &str) -> Error {
        let mut names = self.names();
        names.sort_by(|a, b| jaro_winkler(b, name).total_cmp(&jaro_winkler(a, name)));
        names.truncate(3);
        let hint = if names.is_empty() {
            format!("put its file into the folder `{FOLDER}` of a library root")
        } else {
            format!("the nearest are {}", names.join(", "))
        };
        Error::new(ErrorKind::Unsupported, format!("there is no adapter `{name}` here")).with_hint(hint)
    }

    /// Names of all that are here.
    fn names(&self) -> Vec<String> {
        let declared = self.declared.iter().filter(|(_, path)| path.is_file()).map(|(name, _)| name.clone());
        let files = self.folders.iter().flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten());
        let stems = files.filter_map(|file| {
            let path = file.path();
            let extension = path.extension()?.to_str()?;
            EXTENSIONS.contains(&extension).then(|| Some(path.file_stem()?.to_str()?.to_owned()))?
        });
        let mut names: Vec<String> = declared.chain(stems).take(MOST_NAMES).collect();
        names.sort();
        names.dedup();
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapters(folder: &Path) -> Adapters {
        fs::create_dir_all(folder.join("loras/style")).unwrap();
        for file in ["ink.safetensors", "old.pt", "style/oil.safetensors", "notes.txt"] {
            fs::write(folder.join("loras").join(file), b"").unwrap();
        }
        fs::write(folder.join("elsewhere.safetensors"), b"").unwrap();
        let roots = [folder.to_owned()];
        let library = Library { roots: &roots, hub_cache: None };
        let declared = BTreeMap::from([
            ("mine".to_owned(), "file:elsewhere.safetensors".to_owned()),
            ("gone".to_owned(), "file:gone.safetensors".to_owned()),
        ]);
        Adapters::new(&declared, &library).unwrap()
    }

    #[test]
    fn names_are_those_of_files_or_declared() {
        let folder = tempfile::tempdir().unwrap();
        let adapters = adapters(folder.path());
        let found = |name: &str| adapters.find(name).map(|path| path.strip_prefix(folder.path()).unwrap().to_owned());
        for (name, file) in [
            ("ink", "loras/ink.safetensors"),
            ("ink.safetensors", "loras/ink.safetensors"),
            ("old", "loras/old.pt"),
            ("style/oil", "loras/style/oil.safetensors"),
            ("mine", "elsewhere.safetensors"),
        ] {
            assert_eq!(found(name).unwrap(), Path::new(file), "{name}");
        }
    }

    #[test]
    fn another_file_of_the_same_name_has_another_digest() {
        let folder = tempfile::tempdir().unwrap();
        let adapters = adapters(folder.path());
        let loras = folder.path().join("loras");
        let mut seen = vec![adapters.digest("ink").unwrap()];
        assert_eq!(seen, [adapters.digest("ink.safetensors").unwrap()]);
        assert_eq!(adapters.digest("inc"), None);
        fs::write(loras.join("ink.safetensors"), b"longer").unwrap();
        seen.push(adapters.digest("ink").unwrap());
        fs::write(loras.join("adapter_config.json"), b"{}").unwrap();
        seen.push(adapters.digest("ink").unwrap());
        // Of the same size and time, and another file.
        let time = fs::metadata(loras.join("ink.safetensors")).unwrap().modified().unwrap();
        for other in ["a", "b"] {
            let file = fs::File::create(folder.path().join(other)).unwrap();
            file.set_modified(time).unwrap();
            fs::remove_file(loras.join("ink.safetensors")).unwrap();
            std::os::unix::fs::symlink(folder.path().join(other), loras.join("ink.safetensors")).unwrap();
            seen.push(adapters.digest("ink").unwrap());
        }
        let all = seen.len();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), all);
    }

    #[test]
    fn what_is_not_there_is_told_with_the_nearest() {
        let folder = tempfile::tempdir().unwrap();
        let adapters = adapters(folder.path());
        for name in ["inc", "gone", "notes", "../elsewhere", "/etc/passwd", "style", ""] {
            let error = adapters.find(name).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{name}");
            assert_eq!(error.to_string(), format!("there is no adapter `{name}` here"));
            assert!(!error.hint().unwrap().contains(folder.path().to_str().unwrap()));
        }
        assert!(adapters.find("inc").unwrap_err().hint().unwrap().starts_with("the nearest are ink"));
    }

    #[test]
    fn a_place_that_cannot_be_read_is_told_by_its_name() {
        let library = Library { roots: &[], hub_cache: None };
        let declared = BTreeMap::from([("mine".to_owned(), "elsewhere".to_owned())]);
        let (name, reason) = Adapters::new(&declared, &library).unwrap_err();
        assert_eq!(name, "mine");
        assert!(reason.contains("neither `file:` nor `hf:`"), "{reason}");
    }
}
