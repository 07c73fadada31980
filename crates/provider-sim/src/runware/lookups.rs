//! Tasks that buy nothing: asking for results, for the account, for models; uploading; and the session's ping.

use serde_json::{Value, json};

use super::check::{Check, check};
use super::error::TaskError;
use super::outcome::Outcome;
use super::run::Run;
use super::tasks::Known;

/// Whether a task of this type buys nothing.
pub(super) fn is_one(kind: &str) -> bool {
    [
        "authentication",
        "ping",
        "getResponse",
        "getTaskDetails",
        "accountManagement",
        "modelSearch",
        "mediaStorage",
        "imageUpload",
    ]
    .contains(&kind)
}

/// What becomes of it.
pub(super) fn answer(kind: &str, task: &Value, run: &Run) -> Result<Outcome, TaskError> {
    let one = |item: Value| Ok(Outcome { data: vec![item.to_string()], ..Outcome::default() });
    if kind == "ping" {
        return one(json!({ "taskType": "ping", "pong": true }));
    }
    if task["taskUUID"].is_null() {
        return Err(TaskError::parameter("missing", "taskUUID", "Missing parameter 'taskUUID'."));
    }
    check("taskUUID", &task["taskUUID"], &Check::Uuid)?;
    let uuid = task["taskUUID"].as_str().unwrap_or_default();
    match kind {
        "getResponse" => response(uuid, run),
        "getTaskDetails" => one(run.state.tasks().details(uuid).ok_or_else(|| missing(uuid))?),
        "accountManagement" => one(json!({
            "taskType": kind, "taskUUID": uuid, "operation": task["operation"], "organizationName": "Stand-in",
            "balance": { "amount": 12.5, "freeBalance": 0, "currency": "USD" },
            "usage": { "total": { "credits": 0.0, "requests": run.state.counts().runs } },
        })),
        "modelSearch" => one(json!({
            "taskType": kind, "taskUUID": uuid, "totalResults": 1,
            "results": [{
                "name": "Juggernaut Pro Flux", "air": "rundiffusion:130@100", "version": "1", "category": "checkpoint",
                "architecture": "flux1d", "defaultWidth": 1024, "defaultHeight": 1024, "defaultSteps": 28,
            }],
        })),
        _ => upload(kind, task, uuid, run),
    }
}

fn missing(uuid: &str) -> TaskError {
    TaskError::new(404, "taskNotFound", format!("The task '{uuid}' was not found."))
}

fn response(uuid: &str, run: &Run) -> Result<Outcome, TaskError> {
    match run.state.tasks().ask(uuid) {
        Known::Nothing => Err(missing(uuid)),
        Known::Working(progress) => {
            let item = json!({
                "taskType": "imageInference", "taskUUID": uuid, "status": "processing", "progress": progress,
            });
            Ok(Outcome { data: vec![item.to_string()], ..Outcome::default() })
        }
        Known::Done(task) => {
            let data: Vec<String> =
                task.results.iter().map(|members| format!(r#"{{"status":"success",{members}}}"#)).collect();
            let mut errors = task.errors;
            for error in &mut errors {
                error["status"] = json!("error");
            }
            // Another shape: failures as items with an error inside.
            if run.behaviour.shape > 0 && !errors.is_empty() {
                let item = |error: &Value| json!({ "taskType": "imageInference", "taskUUID": uuid, "status": "error", "error": error });
                let data = data.into_iter().chain(errors.iter().map(|error| item(error).to_string())).collect();
                return Ok(Outcome { data, ..Outcome::default() });
            }
            Ok(Outcome { data, errors, ..Outcome::default() })
        }
    }
}

fn upload(kind: &str, task: &Value, uuid: &str, run: &Run) -> Result<Outcome, TaskError> {
    let (input, output) = if kind == "imageUpload" { ("image", "image") } else { ("media", "media") };
    check(input, &task[input], &Check::Image)?;
    // The name of the task serves as the name of the picture, too.
    run.state.tasks().put_image(uuid.to_owned());
    let item = json!({
        "taskType": kind, "taskUUID": uuid, format!("{output}UUID"): uuid,
        format!("{output}URL"): format!("{}/pictures/{uuid}", run.origin),
    });
    Ok(Outcome { data: vec![item.to_string()], ..Outcome::default() })
}
