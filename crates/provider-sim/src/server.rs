//! Connections, and which of them asks whom.

use std::io;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::http::{Connection, Reply, Request};
use crate::state::State;
use crate::vendor::{Answer, Call, Failure, Vendor};
use crate::wire::{After, send, wait_and_send};
use crate::{Behaviour, Fault, admin, answer, pictures, runware};

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
        if runware::opens_socket(&request) {
            return runware::serve_socket(connection, &request, &state).await;
        }
        let last = request.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        match respond(connection, &request, &state).await {
            Some(open) if !last => connection = open,
            Some(_) | None => return,
        }
    }
}

/// Answers one request; gives the connection back if it can serve another.
async fn respond(mut connection: Connection, request: &Request, state: &State) -> Option<Connection> {
    if request.route() == "/admin" {
        send(&mut connection, &admin::answer(request, state)).await.ok()?;
        return Some(connection);
    }
    if request.method == "GET" && request.route().starts_with("/pictures/") {
        state.count_fetch();
        let missing = || (Vendor::OpenAi.failure(Failure::UnknownPath, request, 0), None);
        let (reply, fault) = pictures::serve(request, state).unwrap_or_else(missing);
        return deliver(connection, &reply, &Behaviour::default(), fault).await.ok().flatten();
    }
    match Vendor::find(request) {
        (vendor, Some(Call::Pictures(answer))) => sell(connection, (vendor, answer), request, state).await,
        (vendor, Some(Call::Lookup(answer))) => {
            let (behaviour, fault) = state.admit_lookup(vendor, request);
            let reply = answer::reply((vendor, answer), request, &behaviour, fault, state);
            deliver(connection, &reply, &behaviour, fault).await.ok().flatten()
        }
        (vendor, None) => {
            send(&mut connection, &vendor.failure(Failure::UnknownPath, request, 0)).await.ok()?;
            Some(connection)
        }
    }
}

/// Answers a request for pictures, which counts.
async fn sell(
    connection: Connection,
    (vendor, answer): (Vendor, Answer),
    request: &Request,
    state: &State,
) -> Option<Connection> {
    let flight = state.flight(vendor);
    let (behaviour, fault) = state.admit(vendor, request);
    let reply = answer::reply((vendor, answer), request, &behaviour, fault, state);
    let outcome = deliver(connection, &reply, &behaviour, fault).await;
    drop(flight);
    outcome.unwrap_or_else(|_| {
        state.abandon(vendor);
        None
    })
}

/// Sends a reply; an error means that the client left first.
async fn deliver(
    mut connection: Connection,
    reply: &Reply,
    behaviour: &Behaviour,
    fault: Option<Fault>,
) -> io::Result<Option<Connection>> {
    Ok(match wait_and_send(&mut connection, reply, behaviour.delay, fault).await? {
        After::Open => Some(connection),
        After::Close => None,
        After::Reset => {
            connection.reset();
            None
        }
    })
}
