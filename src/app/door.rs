//! Where connections come in, and how that ends before anything else does.

use std::net::{Shutdown, TcpListener};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use socket2::Socket;

/// How long the server gets to turn away from its socket; it says that it will, not when it has.
const TURNING_AWAY: Duration = Duration::from_millis(20);

/// A second handle to the socket that the server listens on.
pub(super) struct Door(Socket);

impl Door {
    pub(super) fn of(listener: &TcpListener) -> std::io::Result<Self> {
        Ok(Self(listener.try_clone()?.into()))
    }

    /// From now on nobody gets in: who tries is refused at once, and another process may listen on the same port. The
    /// server goes on with the connections that it has.
    pub(super) async fn close(&self, server: &ServerHandle) {
        server.pause().await;
        tokio::time::sleep(TURNING_AWAY).await;
        // Linux ends the listening; elsewhere who comes now waits until the process ends, and is then refused.
        if let Err(error) = self.0.shutdown(Shutdown::Both) {
            tracing::debug!(%error, "the socket listens until the end");
        }
    }
}
