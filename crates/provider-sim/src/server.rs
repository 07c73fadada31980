//! Connections, routes, and faults that happen on the wire.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::error::VendorError;
use crate::http::{Connection, Reply, Request};
use crate::state::State;
use crate::{Behaviour, Fault, admin, openai};

/// Between two drops of `drip`.
const DROP_INTERVAL: Duration = Duration::from_millis(50);

/// Serves until told to stop; then every connection is dropped as it is.
pub(crate) async fn serve(listener: TcpListener, state: Arc<State>, mut stop: oneshot::Receiver<()>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    connections.spawn(serve_connection(stream, Arc::clone(&state)));
                }
            }
            Some(_) = connections.join_next() => {}
            _ = &mut stop => return,
        }
    }
}

async fn serve_connection(stream: TcpStream, state: Arc<State>) {
    let _counted = state.connection();
    let mut connection = Connection::new(stream);
    loop {
        let request = match connection.read_request().await {
            Ok(Some(request)) => request,
            Ok(None) => return,
            Err(error) => {
                if error.kind() == io::ErrorKind::InvalidData {
                    let _ = send(&mut connection, &Reply::new(400, "text/plain", error.to_string())).await;
                }
                return;
            }
        };
        let last = request.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        match answer(connection, &request, &state).await {
            Some(open) if !last => connection = open,
            Some(_) | None => return,
        }
    }
}

/// Answers one request; gives the connection back if it can serve another.
async fn answer(mut connection: Connection, request: &Request, state: &Arc<State>) -> Option<Connection> {
    let path = request.path.split('?').next().unwrap_or_default();
    let reply = match (request.method.as_str(), path) {
        ("POST", "/v1/images/generations") => return generate(connection, request, state).await,
        ("GET", "/v1/models") => openai::list_models(),
        ("GET", path) if path.starts_with("/pictures/") => openai::serve_picture(path, &state.behaviour())
            .unwrap_or_else(|| VendorError::unknown_path("GET", path).reply()),
        (_, "/admin") => admin::answer(request, state),
        (method, path) => VendorError::unknown_path(method, path).reply(),
    };
    send(&mut connection, &reply).await.ok()?;
    Some(connection)
}

async fn generate(mut connection: Connection, request: &Request, state: &Arc<State>) -> Option<Connection> {
    let flight = state.flight();
    let (behaviour, fault) = state.admit(request);
    let reply = reply(request, &behaviour, fault, state);
    let outcome = wait_and_send(&mut connection, &reply, behaviour.delay, fault).await;
    drop(flight);
    match outcome {
        Ok(After::Open) => Some(connection),
        Ok(After::Close) => None,
        Ok(After::Reset) => {
            connection.reset();
            None
        }
        Err(_) => {
            state.abandon();
            None
        }
    }
}

/// What is left to do with a connection.
enum After {
    Open,
    Close,
    Reset,
}

fn reply(request: &Request, behaviour: &Behaviour, fault: Option<Fault>, state: &State) -> Reply {
    let key = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
    if behaviour.key.is_some() && behaviour.key.as_deref() != key {
        return VendorError::invalid_key().reply();
    }
    match fault {
        Some(Fault::Status(status)) => VendorError::of_status(status).reply(),
        Some(Fault::RateLimit(seconds)) => VendorError::rate_limit(seconds).reply(),
        Some(Fault::Quota) => VendorError::quota().reply(),
        Some(Fault::Refused) => VendorError::refused().reply(),
        Some(Fault::Html) => Reply::new(200, "text/html; charset=utf-8", "<html><h1>Sign in to continue</h1></html>"),
        _ => match openai::read(request, behaviour, state) {
            Ok(asked) => openai::answer(&asked, behaviour, fault, state),
            Err(error) => error.reply(),
        },
    }
}

/// Sends the reply as the fault has it; an error means that the client left first.
async fn wait_and_send(
    connection: &mut Connection,
    reply: &Reply,
    delay: Duration,
    fault: Option<Fault>,
) -> io::Result<After> {
    pause(connection, delay).await?;
    let half = reply.body.get(..reply.body.len() / 2).unwrap_or_default();
    match fault {
        Some(Fault::Hang) => leave(connection).await,
        Some(Fault::Reset) => Ok(After::Reset),
        Some(Fault::Close) => Ok(After::Close),
        Some(Fault::HangMidBody) => {
            connection.write(&reply.head()).await?;
            connection.write(half).await?;
            leave(connection).await
        }
        Some(Fault::TruncatedBody | Fault::ResetMidBody) => {
            connection.write(&reply.head()).await?;
            connection.write(half).await?;
            if fault == Some(Fault::TruncatedBody) {
                return Ok(After::Close);
            }
            // A reset discards what the client has not read yet; the half body is to be read first.
            pause(connection, DROP_INTERVAL).await?;
            Ok(After::Reset)
        }
        Some(Fault::TruncatedJson) => {
            let cut = Reply { body: half.to_vec(), ..reply.clone() };
            send(connection, &cut).await.map(|()| After::Open)
        }
        Some(Fault::Drip(rate)) => {
            connection.write(&reply.head()).await?;
            drip(connection, &reply.body, rate).await.map(|()| After::Open)
        }
        _ => send(connection, reply).await.map(|()| After::Open),
    }
}

async fn drip(connection: &mut Connection, body: &[u8], rate: u32) -> io::Result<()> {
    let drop_size = usize::try_from(rate / 20).unwrap_or(1).max(1);
    for chunk in body.chunks(drop_size) {
        pause(connection, DROP_INTERVAL).await?;
        connection.write(chunk).await?;
    }
    Ok(())
}

async fn send(connection: &mut Connection, reply: &Reply) -> io::Result<()> {
    connection.write(&reply.head()).await?;
    connection.write(&reply.body).await
}

/// Waits, unless the client leaves first.
async fn pause(connection: &mut Connection, delay: Duration) -> io::Result<()> {
    if delay.is_zero() {
        return Ok(());
    }
    tokio::select! {
        () = tokio::time::sleep(delay) => Ok(()),
        () = connection.gone() => Err(io::ErrorKind::ConnectionAborted.into()),
    }
}

/// Waits for the client to leave.
async fn leave(connection: &mut Connection) -> io::Result<After> {
    connection.gone().await;
    Err(io::ErrorKind::ConnectionAborted.into())
}
