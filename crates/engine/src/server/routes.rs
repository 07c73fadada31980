//! The routes of the protocol; the words are those of `easel_engine_protocol`.

use std::process;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, get, post, web};
use easel_engine_protocol::{GenerateJob, PROTOCOL, Status, Unload, Unloaded};

use super::answer::Refusal;
use super::stream::{EventStream, OpenStreams};
use crate::Error;
use crate::parts::ModelParts;
use crate::worker::{JobOptions, Worker};

#[get("/v1/status")]
pub(super) async fn status(worker: web::Data<Worker>) -> web::Json<Status> {
    web::Json(Status {
        protocol: PROTOCOL,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: process::id(),
        devices: worker.status(),
        models: worker.models(),
        queued: worker.queued(),
        running: worker.running(),
    })
}

#[post("/v1/generate")]
pub(super) async fn generate(
    job: web::Json<GenerateJob>,
    worker: web::Data<Worker>,
    streams: web::Data<OpenStreams>,
) -> Result<HttpResponse, Refusal> {
    let job = job.into_inner();
    let model = job.model.clone();
    // A model that is not there is refused before the stream begins; whether it is whole shows when it is opened.
    let found = web::block(move || ModelParts::find(&model)).await;
    found.map_err(|error| Error::internal(error.to_string()))??;
    let job = worker.submit(job, JobOptions::default())?;
    let stream = EventStream::new(job, &streams);
    Ok(HttpResponse::Ok().content_type("application/x-ndjson").streaming(stream))
}

#[post("/v1/unload")]
pub(super) async fn unload(which: web::Json<Unload>, worker: web::Data<Worker>) -> web::Json<Unloaded> {
    let models = worker.unload(which.into_inner().path).await;
    web::Json(Unloaded { models: u32::try_from(models).unwrap_or(u32::MAX) })
}

pub(super) async fn unknown(request: HttpRequest) -> Result<HttpResponse, Refusal> {
    let what = format!("there is no route {} {}", request.method(), request.path());
    Err(Refusal::with_status(Error::invalid(what), StatusCode::NOT_FOUND))
}
