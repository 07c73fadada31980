//! Names and paths that files and people give, which must not lead out of the folder they are joined to.

use std::path::{Component as Part, Path};

/// Whether this is the name of something directly inside a folder.
pub(crate) fn is_plain_name(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\\', '\0', ':'])
}

/// Whether a relative path stays inside the folder it is joined to.
pub(crate) fn is_inside(path: &Path) -> bool {
    path.components().next().is_some() && path.components().all(|part| matches!(part, Part::Normal(_) | Part::CurDir))
}
