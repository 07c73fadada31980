//! Doing what tasks say: one after the other, each with its own results and errors.

use std::time::Instant;

use serde_json::Value;

use super::check::is_uuid;
use super::error::TaskError;
use super::inference::{Flagged, Inference};
use super::lookups;
use super::outcome::Outcome;
use super::refusal::Refusal;
use super::tasks::Stored;
use crate::json::at;
use crate::state::State;
use crate::{Behaviour, Fault};

/// One request, or one frame of a session.
pub(super) struct Run<'a> {
    pub behaviour: &'a Behaviour,
    pub fault: Option<Fault>,
    pub state: &'a State,
    pub origin: String,
    /// Only tell the price.
    pub dry: bool,
}

impl Run<'_> {
    /// What becomes of these tasks.
    pub fn all(&self, tasks: &[Value]) -> Outcome {
        let mut outcome = Outcome::default();
        for task in tasks.iter().filter(|task| task["taskType"] != "authentication") {
            outcome.add(self.one(task).unwrap_or_else(|error| failed(&error, task)));
        }
        outcome
    }

    fn one(&self, task: &Value) -> Result<Outcome, TaskError> {
        match task["taskType"].as_str() {
            Some("imageInference") => self.infer(task),
            Some(kind) if lookups::is_one(kind) => lookups::answer(kind, task, self),
            Some(kind) => {
                let message = format!("Unknown task type '{kind}'.");
                Err(TaskError::parameter("invalid", "taskType", message))
            }
            None => Err(TaskError::parameter("missing", "taskType", "Missing parameter 'taskType'.")),
        }
    }

    fn infer(&self, task: &Value) -> Result<Outcome, TaskError> {
        let inference = Inference::read(task, self)?;
        if self.dry {
            return Ok(Outcome { data: vec![inference.price()], ..Outcome::default() });
        }
        let tasks = self.state.tasks();
        if tasks.has(&inference.uuid) {
            let message = "A task with this taskUUID exists already.";
            return Err(TaskError::parameter("conflict", "taskUUID", message));
        }
        let refusal = self.fault.and_then(Fault::refusal).map_or(Refusal::None, Refusal::of);
        let (results, error) = match refusal {
            Refusal::None => (inference.results(self, Flagged::None), self.partial_error()),
            Refusal::Error { status, form } => (Vec::new(), Some((status, TaskError::refused(form)))),
            Refusal::Flag(flagged) => (inference.results(self, flagged), None),
        };
        let status = error.as_ref().and_then(|(status, _)| *status);
        let errors: Vec<Value> = error.iter().map(|(_, error)| error.item(task)).collect();
        if self.fault.is_none_or(Fault::runs) {
            self.state.count_run();
            let pending = if inference.is_async || self.answer_is_lost() { self.behaviour.pending } else { 0 };
            let stored = Stored {
                uuid: inference.uuid.clone(),
                request: task.clone(),
                results: results.clone(),
                errors: errors.clone(),
                ready: Instant::now() + self.behaviour.delay,
                pending,
            };
            tasks.put(stored, inference.image_uuids());
        }
        if inference.is_async {
            return Ok(Outcome { data: vec![inference.receipt()], ..Outcome::default() });
        }
        let data = results.iter().map(|members| format!("{{{members}}}")).collect();
        Ok(Outcome { status, data, errors })
    }

    /// The error beside results, where some of them failed; the status is that of the results.
    fn partial_error(&self) -> Option<(Option<u16>, TaskError)> {
        (self.fault == Some(Fault::PartlyFailed))
            .then(|| (None, TaskError::new(500, "inferenceError", "One of the results failed.")))
    }

    fn answer_is_lost(&self) -> bool {
        matches!(
            self.fault,
            Some(Fault::LostAfter | Fault::Hang | Fault::HangMidBody | Fault::EmptyBody(_) | Fault::ResetMidBody)
        )
    }

    /// Whether the pictures that a task names by their UUID are there.
    pub fn knows_pictures(&self, task: &Value) -> Result<(), TaskError> {
        let single = ["/seedImage", "/maskImage", "/inputs/seedImage", "/inputs/maskImage", "/inputs/image"];
        let lists = ["/referenceImages", "/inputs/referenceImages", "/inputs/images"];
        let all = single.map(|path| at(task, path)).into_iter();
        let all = all.chain(lists.into_iter().filter_map(|path| at(task, path).as_array()).flatten());
        for uuid in all.filter_map(Value::as_str).filter(|text| is_uuid(text)) {
            if !self.state.tasks().has_image(uuid) {
                return Err(TaskError::new(404, "imageNotFound", format!("The image '{uuid}' was not found.")));
            }
        }
        Ok(())
    }
}

fn failed(error: &TaskError, task: &Value) -> Outcome {
    Outcome { status: Some(error.status), data: Vec::new(), errors: vec![error.item(task)] }
}
