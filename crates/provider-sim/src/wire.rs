//! Sending a reply as the fault has it: in time or late, whole or in part, or not at all.

use std::io;
use std::time::Duration;

use crate::Fault;
use crate::http::{Connection, Reply};

/// Between two drops of `drip`, unless a byte takes longer.
const DROP_INTERVAL: Duration = Duration::from_millis(50);
/// Between two events of a stream.
const EVENT_INTERVAL: Duration = Duration::from_millis(20);
/// What an endless picture announces: more than anybody takes.
const ENDLESS: u64 = 64 << 30;

/// What is left to do with a connection.
pub(crate) enum After {
    Open,
    Close,
    Reset,
}

/// Sends the reply as the fault has it; an error means that the client left first.
pub(crate) async fn wait_and_send(
    connection: &mut Connection,
    reply: &Reply,
    delay: Duration,
    fault: Option<Fault>,
) -> io::Result<After> {
    pause(connection, delay).await?;
    let half = reply.body.get(..reply.body.len() / 2).unwrap_or_default();
    match fault {
        Some(Fault::Hang) => leave(connection).await,
        Some(Fault::Reset | Fault::LostBefore | Fault::LostAfter) => Ok(After::Reset),
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
            let cut = Reply { body: half.to_vec(), breaks: Vec::new(), ..reply.clone() };
            send(connection, &cut).await.map(|()| After::Open)
        }
        Some(Fault::Drip(rate)) => {
            connection.write(&reply.head()).await?;
            drip(connection, &reply.body, rate).await.map(|()| After::Open)
        }
        Some(Fault::UrlEndless) if reply.content_type.starts_with("image/") => flood(connection, reply).await,
        _ => send(connection, reply).await.map(|()| After::Open),
    }
}

async fn drip(connection: &mut Connection, body: &[u8], rate: u32) -> io::Result<()> {
    let drop_size = usize::try_from(rate / 20).unwrap_or(1).max(1);
    let interval = DROP_INTERVAL.max(Duration::from_secs(1) / rate.max(1));
    for chunk in body.chunks(drop_size) {
        pause(connection, interval).await?;
        connection.write(chunk).await?;
    }
    Ok(())
}

/// A picture, and then more bytes than anybody takes.
async fn flood(connection: &mut Connection, reply: &Reply) -> io::Result<After> {
    connection.write(&Reply { announced: Some(ENDLESS), ..reply.clone() }.head()).await?;
    connection.write(&reply.body).await?;
    let more = vec![0; 64 << 10];
    loop {
        connection.write(&more).await?;
    }
}

pub(crate) async fn send(connection: &mut Connection, reply: &Reply) -> io::Result<()> {
    connection.write(&reply.head()).await?;
    let mut from = 0;
    for to in &reply.breaks {
        connection.write(reply.body.get(from..*to).unwrap_or_default()).await?;
        pause(connection, EVENT_INTERVAL).await?;
        from = *to;
    }
    connection.write(reply.body.get(from..).unwrap_or_default()).await
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
