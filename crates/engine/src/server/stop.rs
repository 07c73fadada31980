//! Why the engine stops: a signal, the end of standard input, or a device that only a new process cures.

use std::fmt;
use std::io::{self, Read};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::worker::Worker;

/// How often the devices are looked after.
const LOOK: Duration = Duration::from_millis(250);

/// What made the engine stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    Signal,
    StdinEnded,
    DeviceLost,
}

impl Reason {
    /// How long running jobs may go on: nobody reads them when the parent is gone, and on a lost device they cannot end.
    pub(super) fn grace(self, on_signal: Duration) -> Duration {
        match self {
            Self::Signal => on_signal,
            Self::StdinEnded | Self::DeviceLost => Duration::ZERO,
        }
    }

    pub(super) fn exit_code(self) -> ExitCode {
        match self {
            Self::Signal | Self::StdinEnded => ExitCode::SUCCESS,
            Self::DeviceLost => ExitCode::FAILURE,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Signal => "told to stop",
            Self::StdinEnded => "standard input ended",
            Self::DeviceLost => "a device was lost",
        })
    }
}

pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    stdin: Option<oneshot::Receiver<()>>,
}

impl Signals {
    /// Listens from now on, so that a signal during start-up is not lost.
    pub(super) fn listen(with_stdin: bool) -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            stdin: with_stdin.then(watch_stdin).transpose()?,
        })
    }

    pub(super) async fn wait(mut self, worker: &Worker) -> Reason {
        let stdin = async {
            match self.stdin {
                // An error means that the watching thread is gone, which it never is before the end.
                Some(ended) => ended.await.unwrap_or_default(),
                None => std::future::pending().await,
            }
        };
        let lost = async {
            while !worker.is_lost() {
                sleep(LOOK).await;
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => Reason::Signal,
            _ = self.interrupt.recv() => Reason::Signal,
            () = stdin => Reason::StdinEnded,
            () = lost => Reason::DeviceLost,
        }
    }
}

/// Reads standard input to its end on a thread of its own: such a read cannot be cancelled.
fn watch_stdin() -> io::Result<oneshot::Receiver<()>> {
    let (ended, receiver) = oneshot::channel();
    thread::Builder::new().name("stdin".to_owned()).spawn(move || {
        let mut stdin = io::stdin().lock();
        let mut buffer = [0; 256];
        loop {
            match stdin.read(&mut buffer) {
                Ok(1..) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => break,
            }
        }
        // Nobody listens when the engine stops already for another reason.
        let _ = ended.send(());
    })?;
    Ok(receiver)
}
