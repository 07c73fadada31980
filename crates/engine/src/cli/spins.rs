//! How long OpenMP's threads spin while they wait, which has to be said before there is a thread.
//!
//! libgomp reads its environment when it is loaded, long before `main`. So the process starts itself anew, once, with the
//! variable set: a quarter of a second, where a picture on a busy machine otherwise takes half a minute instead of ten
//! seconds (docs/BUILDING.md has the figures).

use std::env;
use std::os::unix::process::CommandExt;
use std::process::Command;

use easel_engine_protocol::OPENMP_SPINS;

/// Others that say how threads wait; who sets one of them has decided.
const DECIDED: [&str; 2] = ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT"];

/// Returns in a process whose threads do not spin for long, or whose owner wants them to. It is the same process, with
/// the same arguments, files and number.
#[expect(clippy::disallowed_methods, reason = "it is libgomp's setting, and has to be in the environment")]
pub(super) fn limit() {
    if !cfg!(target_os = "linux") || DECIDED.iter().any(|name| env::var_os(name).is_some()) {
        return;
    }
    let Ok(executable) = env::current_exe() else { return };
    let mut arguments = env::args_os();
    let mut command = Command::new(executable);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    let (name, value) = OPENMP_SPINS;
    // It returns only when it failed, and then everything works as well, only slower.
    let error = command.args(arguments).env(name, value).exec();
    tracing::debug!(%error, "the process cannot be started anew");
}
