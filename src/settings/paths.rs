//! Folders as written in the settings become folders of this machine.

use std::path::{Path, PathBuf};

use super::Problem;

/// Expands a leading `~`, `${NAME}` and `${NAME:-instead}` in `[storage] data_dir`.
pub(super) fn expand(written: &Path) -> Result<PathBuf, Problem> {
    let key = "storage.data_dir";
    let text = written.to_str().ok_or_else(|| Problem::new(key, "must be UTF-8"))?;
    if text.trim().is_empty() {
        return Err(Problem::new(key, "must not be empty"));
    }
    expand_text(text, &variable).map(PathBuf::from).map_err(|missing| {
        Problem::new(key, format!("{missing} is not set")).with_hint("set it, or write the folder out")
    })
}

fn expand_text(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let (before, after) = rest.split_at(start);
        // The default inside may hold no brace, so the first one ends the expression.
        let Some((inside, tail)) = after.trim_start_matches("${").split_once('}') else { break };
        let (name, instead) = inside.split_once(":-").map_or((inside, None), |(name, value)| (name, Some(value)));
        out.push_str(before);
        match (variable(name), instead) {
            (Some(value), _) => out.push_str(&value),
            (None, Some(value)) => out.push_str(value),
            (None, None) => return Err(name.to_owned()),
        }
        rest = tail;
    }
    out.push_str(rest);
    match out.strip_prefix('~') {
        Some(tail) if tail.is_empty() || tail.starts_with('/') => {
            Ok(variable("HOME").ok_or_else(|| "HOME".to_owned())? + tail)
        }
        Some(_) | None => Ok(out),
    }
}

/// The folders of `[library] roots` that exist. A relative one is looked for in the working directory, then beside
/// and above the executable, so that a clone and an installation both find the models that ship.
pub(super) fn roots(written: &[PathBuf]) -> Vec<PathBuf> {
    let mut bases: Vec<PathBuf> = std::env::current_dir().into_iter().collect();
    let executable = std::env::current_exe().ok().and_then(|path| path.canonicalize().ok());
    if let Some(folder) = executable.as_deref().and_then(Path::parent) {
        bases.extend(["", "..", "../..", "../share/easel"].map(|step| folder.join(step)));
    }
    let mut found: Vec<PathBuf> = Vec::new();
    for root in written {
        let expanded = root.to_str().and_then(|text| expand_text(text, &variable).ok()).map(PathBuf::from);
        let root = expanded.unwrap_or_else(|| root.clone());
        let places = if root.is_absolute() { vec![root] } else { bases.iter().map(|base| base.join(&root)).collect() };
        for folder in places.into_iter().filter_map(|place| place.canonicalize().ok()) {
            if folder.is_dir() && !found.contains(&folder) {
                found.push(folder);
            }
        }
    }
    found
}

/// The Hugging Face cache of this user, by the rules of `huggingface_hub`: `HF_HUB_CACHE`, else `hub` in `HF_HOME`.
pub fn hub_cache() -> Option<PathBuf> {
    if let Some(cache) = variable("HF_HUB_CACHE") {
        return Some(PathBuf::from(cache));
    }
    let home = variable("HF_HOME").map(PathBuf::from).or_else(|| {
        let cache = variable("XDG_CACHE_HOME").map(PathBuf::from);
        Some(cache.or_else(|| Some(Path::new(&variable("HOME")?).join(".cache")))?.join("huggingface"))
    });
    Some(home?.join("hub"))
}

/// Where programs of ours may lie: beside the one that runs, then on the `PATH`.
#[expect(clippy::disallowed_methods, reason = "settings is where the environment is read")]
pub fn executable_dirs() -> Vec<PathBuf> {
    let own = std::env::current_exe().ok().and_then(|path| path.canonicalize().ok());
    let beside = own.and_then(|path| Some(path.parent()?.to_owned()));
    let path = std::env::var_os("PATH").unwrap_or_default();
    beside.into_iter().chain(std::env::split_paths(&path)).collect()
}

#[expect(clippy::disallowed_methods, reason = "settings is where the environment is read")]
fn variable(name: &str) -> Option<String> {
    std::env::var_os(name)?.into_string().ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home_only(name: &str) -> Option<String> {
        (name == "HOME").then(|| "/home/ann".to_owned())
    }

    #[test]
    fn variables_their_defaults_and_the_home_folder_are_expanded() {
        let expanded = |text| expand_text(text, &home_only);
        assert_eq!(expanded("${XDG_DATA_HOME:-~/.local/share}/easel").as_deref(), Ok("/home/ann/.local/share/easel"));
        assert_eq!(expanded("/var/${HOME}/x").as_deref(), Ok("/var//home/ann/x"));
        assert_eq!(expanded("~").as_deref(), Ok("/home/ann"));
        assert_eq!(expanded("~bob/x").as_deref(), Ok("~bob/x"));
        assert_eq!(expanded("${NOPE}/x"), Err("NOPE".to_owned()));
    }
}
