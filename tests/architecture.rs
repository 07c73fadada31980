//! Who may know whom. The tables below are the picture of `docs/ARCHITECTURE.md`; an import outside them fails here.

#![cfg(test)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A room of `src/`, and what it may import from the crate beside itself.
struct Room {
    /// Where it lies: a file, or a folder with everything in it.
    place: &'static str,
    /// Paths below `crate`, each with everything under it.
    may: &'static [&'static str],
}

/// The most specific place that fits a file is its room.
const ROOMS: &[Room] = &[
    Room { place: "main.rs", may: &["cli"] },
    // The binary's own half: it sees the library by its name, `easel`.
    Room { place: "cli.rs", may: &["app", "settings", "telemetry", "api::openapi"] },
    Room { place: "lib.rs", may: &[] },
    Room {
        place: "app/",
        may: &["api", "fetch", "gateway", "generation", "metrics", "nearest", "providers", "settings", "state"],
    },
    Room { place: "byte_size.rs", may: &[] },
    Room { place: "settings/", may: &["byte_size", "nearest", "secret"] },
    Room { place: "secret.rs", may: &[] },
    Room { place: "nearest.rs", may: &[] },
    Room { place: "metrics/", may: &[] },
    Room { place: "telemetry.rs", may: &["settings::Log", "settings::LogFormat", "settings::LogLevel"] },
    Room { place: "state.rs", may: &["gateway::CurrentStore", "gateway::StoreError"] },
    Room { place: "store/", may: &[] },
    Room { place: "generation/", may: &[] },
    Room { place: "tls.rs", may: &[] },
    Room { place: "container/", may: &["generation"] },
    Room { place: "fetch/", may: &["container", "generation", "tls"] },
    Room {
        place: "api/",
        may: &[
            "container",
            "fetch",
            "gateway",
            "generation",
            "metrics",
            "nearest",
            "providers::ErrorKind",
            "secret",
            "store",
        ],
    },
    Room { place: "gateway/", may: &["generation", "metrics", "nearest", "providers"] },
    Room { place: "providers/", may: &["byte_size", "container", "fetch", "generation", "nearest", "secret", "tls"] },
    Room { place: "providers/layers/", may: &["container", "generation", "metrics", "providers"] },
    Room { place: "providers/scripted.rs", may: &["container", "generation", "metrics", "providers"] },
];

/// The folders of `src/providers/` that are one provider each; none may name another.
const PROVIDERS: &[&str] = &["gemini", "local", "openai_compat", "runware"];

/// Libraries that only some places may name.
const LIBRARIES: &[(&str, &[&str])] = &[
    ("actix_web", &["api/", "app/", "cli.rs"]),
    ("utoipa", &["api/"]),
    ("utoipa_actix_web", &["api/", "app/"]),
    ("governor", &["api/", "providers/layers/"]),
    ("prometheus_client", &["metrics/"]),
    ("clap", &["main.rs", "cli.rs"]),
    ("figment", &["settings/"]),
    ("secrecy", &["secret.rs"]),
    ("rusqlite", &["state.rs"]),
    ("moka", &["gateway/cache.rs"]),
    ("tracing_subscriber", &["telemetry.rs"]),
    // `generation` has a module of this name.
    ("image", &["api/generate_image/pictures.rs", "container/", "gateway/", "generation/mod.rs", "providers/"]),
    ("img_parts", &["gateway/embed.rs", "gateway/tests/"]),
    // `container` has a module of this name.
    ("webp", &["container/", "gateway/convert.rs"]),
    ("reqwest", &["fetch/", "providers/"]),
    ("url", &["fetch/", "settings/public_url.rs"]),
    ("easel_catalog", &["providers/local/"]),
    ("easel_engine_protocol", &["providers/local/"]),
];

/// A crate of the workspace and what it may depend on: crates of the workspace, and the libraries that are guarded.
const CRATES: &[(&str, &[&str])] = &[
    (".", &["easel-catalog", "easel-engine-protocol", "actix-web", "reqwest", "rusqlite"]),
    ("crates/catalog", &[]),
    ("crates/engine-protocol", &[]),
    ("crates/engine", &["easel-catalog", "easel-engine-protocol", "torch-shim", "actix-web", "tch"]),
    ("crates/provider-sim", &[]),
    ("crates/torch-shim", &["tch", "torch-sys"]),
];

/// Libraries that shape whoever links them: only the crates above that name them may.
const GUARDED: &[&str] = &["actix-web", "reqwest", "hyper", "rusqlite", "tch", "torch-sys"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut found = Vec::new();
    for path in entries.map(|entry| entry.expect("an entry").path()) {
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The text without comments, and with every string emptied.
fn code(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with('"') {
            let mut escaped = false;
            let end = rest.char_indices().skip(1).find(|(_, letter)| {
                let ends = *letter == '"' && !escaped;
                escaped = *letter == '\\' && !escaped;
                ends
            });
            out.push_str("\"\"");
            end.map_or(rest.len(), |(index, _)| index + 1)
        } else {
            out.push(first);
            first.len_utf8()
        };
        rest = &rest[skipped..];
    }
    out
}

/// Every path that begins with `start` (such as `crate::`), with the branches of `{…}` written out.
fn paths(code: &str, start: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (index, _) in code.match_indices(start) {
        let glued = code[..index].chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':');
        if !glued {
            branches(&code[index + start.len()..], String::new(), &mut found);
        }
    }
    found
}

/// Reads one branch of a path and returns what follows it.
fn branches<'a>(mut rest: &'a str, mut prefix: String, found: &mut BTreeSet<String>) -> &'a str {
    loop {
        rest = rest.trim_start();
        if let Some(inside) = rest.strip_prefix('{') {
            rest = inside;
            while !rest.trim_start().starts_with('}') && !rest.trim_start().is_empty() {
                rest = branches(rest, prefix.clone(), found).trim_start();
                rest = rest.strip_prefix(',').unwrap_or(rest);
            }
            return rest.trim_start().strip_prefix('}').unwrap_or("");
        }
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '*').unwrap_or(rest.len());
        let (name, tail) = rest.split_at(end);
        if !name.is_empty() && name != "self" && name != "*" {
            prefix = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}::{name}") };
        }
        match tail.strip_prefix("::") {
            Some(tail) if !name.is_empty() => rest = tail,
            Some(_) | None => {
                found.insert(prefix);
                let renamed = tail.trim_start().strip_prefix("as ");
                let end = |text: &str| text.trim_start().find([',', '}', ';']).unwrap_or(0);
                return renamed.map_or(if name.is_empty() { "" } else { tail }, |text| &text.trim_start()[end(text)..]);
            }
        }
    }
}

/// What a file names, as paths from the root of the crate: `crate::…`, `easel::…` and `super::…`.
fn imports(place: &str, code: &str) -> BTreeSet<String> {
    let mut all = paths(code, "crate::");
    all.extend(paths(code, "easel::"));
    let mut module: Vec<&str> = place.trim_end_matches(".rs").split('/').collect();
    if matches!(module.last(), Some(&"mod" | &"lib" | &"main")) {
        module.pop();
    }
    for steps in 1..=module.len() {
        let above = module.get(..module.len() - steps).unwrap_or_default().join("::");
        for path in paths(code, &"super::".repeat(steps)) {
            if !path.starts_with("super") {
                all.insert(if above.is_empty() { path } else { format!("{above}::{path}") });
            }
        }
    }
    all
}

fn is_below(path: &str, place: &str) -> bool {
    path == place || path.strip_prefix(place).is_some_and(|rest| rest.starts_with("::"))
}

fn is_in(place: &str, folder: &str) -> bool {
    place == folder || (folder.ends_with('/') && place.starts_with(folder))
}

/// What a file imports that its room may not.
fn trespasses(place: &str, text: &str) -> Vec<String> {
    let Some(room) = ROOMS.iter().filter(|room| is_in(place, room.place)).max_by_key(|room| room.place.len()) else {
        return vec![format!("src/{place} is in no room of the table")];
    };
    let code = code(text);
    let own = room.place.trim_end_matches('/').trim_end_matches(".rs");
    let mut found = Vec::new();
    for path in imports(place, &code) {
        let allowed = is_below(&path, own)
            || room.may.iter().any(|may| is_below(&path, may))
            || !path.contains("::") && room.place == "lib.rs";
        let modules: Vec<&str> =
            ROOMS.iter().map(|room| room.place.trim_end_matches('/').trim_end_matches(".rs")).collect();
        let is_ours = modules.iter().any(|module| is_below(&path, module));
        if is_ours && !allowed {
            found.push(format!("src/{place} imports {path}"));
        }
        let provider = |name: &&&str| is_below(&path, &format!("providers::{name}"));
        if let Some(named) = PROVIDERS.iter().find(provider)
            && !is_in(place, &format!("providers/{named}/"))
        {
            found.push(format!("src/{place} names the provider {named}: {path}"));
        }
    }
    for (library, places) in LIBRARIES {
        let named = !paths(&code, &format!("{library}::")).is_empty();
        if named && !places.iter().any(|allowed| is_in(place, allowed)) {
            found.push(format!("src/{place} names the library {library}"));
        }
    }
    found
}

#[test]
fn every_room_imports_only_what_its_row_allows() {
    let mut found = Vec::new();
    for path in sources(&root().join("src")) {
        let place = path.strip_prefix(root().join("src")).expect("below src").display().to_string();
        found.extend(trespasses(&place, &fs::read_to_string(&path).expect("a source")));
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn every_row_stands_for_something() {
    for room in ROOMS {
        assert!(root().join("src").join(room.place).exists(), "there is no src/{}", room.place);
    }
    let providers: Vec<&str> = PROVIDERS.to_vec();
    let listed = fs::read_to_string(root().join("src/providers/mod.rs")).expect("providers");
    let kinds = listed.matches("Kind::of::<").count();
    assert_eq!(kinds, providers.len(), "KINDS and the table name the same providers");
}

#[test]
fn every_crate_depends_only_on_what_its_row_allows() {
    let crates: BTreeSet<String> = fs::read_dir(root().join("crates"))
        .expect("crates")
        .map(|entry| format!("crates/{}", entry.expect("an entry").file_name().display()))
        .collect();
    let listed: BTreeSet<String> = CRATES.iter().skip(1).map(|(place, _)| (*place).to_owned()).collect();
    assert_eq!(crates, listed, "every crate has its row");
    let ours = ["easel", "easel-catalog", "easel-engine", "easel-engine-protocol", "provider-sim", "torch-shim"];
    for (place, may) in CRATES {
        let manifest = fs::read_to_string(root().join(place).join("Cargo.toml")).expect("a manifest");
        for name in dependencies(&manifest) {
            let watched = ours.contains(&name.as_str()) || GUARDED.contains(&name.as_str());
            assert!(!watched || may.contains(&name.as_str()), "{place} depends on {name}");
        }
    }
}

/// The names under `[dependencies]`.
fn dependencies(manifest: &str) -> Vec<String> {
    let after = manifest.split("\n[dependencies]\n").nth(1).unwrap_or_default();
    let section = after.split("\n[").next().unwrap_or_default();
    let name = |line: &str| Some(line.split(['.', ' ', '=']).next()?.trim().to_owned());
    section.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')).filter_map(name).collect()
}

#[test]
fn a_provider_is_named_nowhere_but_in_its_folder_and_its_line() {
    let mut found = Vec::new();
    for path in sources(&root().join("src")) {
        let place = path.strip_prefix(root().join("src")).expect("below src").display().to_string();
        let text = fs::read_to_string(&path).expect("a source");
        // Tests name the kinds that they configure, and the list of kinds is where they stand.
        let lines = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]"));
        // `local` is also the top-level domain of names that are not public.
        if place.starts_with("providers/") || place.contains("tests") || place == "fetch/address.rs" {
            continue;
        }
        let quoted = |line: &&str| PROVIDERS.iter().any(|name| line.contains(&format!("\"{name}\"")));
        found.extend(lines.filter(quoted).map(|line| format!("src/{place}: {line}")));
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn the_reader_of_imports_sees_them() {
    let text = "use crate::{api::{self, Edge as E}, gateway::*};\nfn f() { crate::settings::load(); }\n// crate::no\nlet x = \"crate::no\";";
    let seen: Vec<String> = paths(&code(text), "crate::").into_iter().collect();
    assert_eq!(seen, ["api", "api::Edge", "gateway", "settings::load"]);
    let up = imports("providers/local/mod.rs", "use super::openai_compat::Config; use super::super::api::X;");
    assert!(up.contains("providers::openai_compat::Config") && up.contains("api::X"), "{up:?}");
    assert_eq!(trespasses("generation/x.rs", "use crate::api::Y;"), ["src/generation/x.rs imports api::Y"]);
    assert_eq!(trespasses("gateway/x.rs", "use actix_web::web;"), ["src/gateway/x.rs names the library actix_web"]);
    assert_eq!(trespasses("providers/local/x.rs", "use crate::providers::openai_compat::Config;").len(), 1);
    assert_eq!(trespasses("elsewhere.rs", "").len(), 1);
}
