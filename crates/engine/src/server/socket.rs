//! The Unix socket: only its owner may use it, a stale one is replaced, a living one is left alone.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process;

use crate::{Error, Result};

/// Listens. The socket is made beside its place and moved there, so that it is never there without its mode, and
/// whoever sees it can connect.
pub(super) fn listen(path: &Path) -> Result<UnixListener> {
    make_way(path).and_then(|()| bind(path)).map_err(|error| {
        let failed = Error::internal(format!("socket {}: {error}", path.display()));
        if error.kind() == io::ErrorKind::AddrInUse {
            failed.with_hint("another engine serves there; choose another --socket")
        } else {
            failed
        }
    })
}

fn make_way(path: &Path) -> io::Result<()> {
    if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty() && !dir.exists()) {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is not a socket"))
        }
        Ok(_) if UnixStream::connect(path).is_ok() => {
            Err(io::Error::new(io::ErrorKind::AddrInUse, "somebody answers there"))
        }
        Ok(_) => Ok(()),
    }
}

fn bind(path: &Path) -> io::Result<UnixListener> {
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(format!(".{}", process::id()));
    let temporary = path.with_file_name(name);
    let listener = UnixListener::bind(&temporary)?;
    let placed =
        fs::set_permissions(&temporary, Permissions::from_mode(0o600)).and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = placed {
        fs::remove_file(&temporary)?;
        return Err(error);
    }
    Ok(listener)
}

/// Takes the socket away; one that is gone already is as good.
pub(super) fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(socket = %path.display(), %error, "socket not removed");
    }
}
