//! Doing what tasks say: one after the other, each with its own results and errors.

use std::time::Instant;

use serde_json::Value;

use super::check::is_uuid;
use super::error::{REFUSAL_CODES, TaskError};
use super::inference::Inference;
use super::lookups;
use super::outcome::Outcome;
use super::tasks::Stored;
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
        let refusal = self.fault.and_then(Fault::refusal).map(|form| form % super::REFUSALS);
        let codes = u8::try_from(REFUSAL_CODES.len()).unwrap_or(u8::MAX);
        let (results, mut errors, flagged) = match refusal {
            Some(form) if form <= codes => {
                // An error on 200 is the last of the forms that give no picture.
                let status = if form == codes { None } else { Some(400) };
                (Vec::new(), vec![(status, TaskError::refused(form % codes))], 0)
            }
            Some(form) => (inference.results(self, form - codes), Vec::new(), form - codes),
            None => (inference.results(self, 0), Vec::new(), 0),
        };
        if self.fault == Some(Fault::PartlyFailed) {
            errors.push((None, TaskError::new(500, "inferenceError", "One of the results failed.")));
        }
        let _ = flagged;
        let (status, items) = (
            errors.iter().find_map(|(status, _)| *status),
            errors.iter().map(|(_, error)| error.item(task)).collect::<Vec<_>>(),
        );
        if self.fault.is_none_or(Fault::runs) {
            self.state.count_run();
            let pending = if inference.is_async || self.answer_is_lost() { self.behaviour.pending } else { 0 };
            let stored = Stored {
                uuid: inference.uuid.clone(),
                request: task.clone(),
                results: results.clone(),
                errors: items.clone(),
                ready: Instant::now() + self.behaviour.delay,
                pending,
            };
            tasks.put(stored, inference.image_uuids());
        }
        if inference.is_async {
            return Ok(Outcome { data: vec![inference.receipt()], ..Outcome::default() });
        }
        let data = results.iter().map(|members| format!("{{{members}}}")).collect();
        Ok(Outcome { status, data, errors: items })
    }

    fn answer_is_lost(&self) -> bool {
        matches!(
            self.fault,
            Some(Fault::LostAfter | Fault::Hang | Fault::HangMidBody | Fault::EmptyBody(_) | Fault::ResetMidBody)
        )
    }

    /// Whether the pictures that a task names by their UUID are there.
    pub fn knows_pictures(&self, task: &Value) -> Result<(), TaskError> {
        let inputs = [&task["inputs"]["seedImage"], &task["inputs"]["maskImage"], &task["inputs"]["image"]];
        let single = [&task["seedImage"], &task["maskImage"]].into_iter().chain(inputs);
        let lists = [&task["referenceImages"], &task["inputs"]["referenceImages"], &task["inputs"]["images"]];
        let all = single.chain(lists.into_iter().filter_map(Value::as_array).flatten());
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
