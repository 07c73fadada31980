//! `imageInference`: a task that passed the vendor's checks, and its results.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde_json::{Value, json};

use super::check::check;
use super::error::TaskError;
use super::fields::{FIELDS, REQUIRED};
use super::models::Family;
use super::run::Run;
use crate::Fault;
use crate::json::at;
use crate::picture::Format;
use crate::pictures::{self, Item, Wish};

/// What one picture costs.
pub(super) const COST: f64 = 0.0026;

/// Pictures that are said to be unsafe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flagged {
    None,
    All,
    Last,
}

/// A task that passed the vendor's checks.
#[derive(Debug)]
pub(super) struct Inference {
    pub uuid: String,
    pub is_async: bool,
    wish: Wish,
    seed: u64,
    /// `imageURL`, `imageBase64Data` or `imageDataURI`.
    member: &'static str,
    cost: bool,
    checks_content: bool,
}

impl Inference {
    /// Reads a task as the vendor does.
    pub fn read(task: &Value, run: &Run) -> Result<Self, TaskError> {
        for name in REQUIRED {
            if task[name].is_null() {
                return Err(TaskError::parameter("missing", name, format!("Missing parameter '{name}'.")));
            }
        }
        for (name, value) in task.as_object().into_iter().flatten() {
            match FIELDS.iter().find(|(known, _)| known == name) {
                Some((_, wanted)) => check(name, value, wanted)?,
                None => return Err(TaskError::unknown_parameter(name)),
            }
        }
        let air = task["model"].as_str().unwrap_or_default();
        let family = Family::of(air)
            .ok_or_else(|| TaskError::new(404, "unknownModel", format!("The model '{air}' was not found.")))?;
        family.check(air, task)?;
        if !task["maskImage"].is_null() && task["seedImage"].is_null() {
            return Err(TaskError::parameter("missing", "seedImage", "'maskImage' needs 'seedImage'."));
        }
        run.knows_pictures(task)?;
        Ok(Self::of(task, run))
    }

    fn of(task: &Value, run: &Run) -> Self {
        let uuid = task["taskUUID"].as_str().unwrap_or_default().to_owned();
        let member = match task["outputType"].as_str() {
            Some("base64Data") => "imageBase64Data",
            Some("dataURI") => "imageDataURI",
            _ => "imageURL",
        };
        let side = |name: &str| task[name].as_u64().and_then(|side| u32::try_from(side).ok()).unwrap_or(1024);
        let count = task["numberResults"].as_u64().and_then(|count| u32::try_from(count).ok()).unwrap_or(1);
        let mut hasher = DefaultHasher::new();
        let inputs = ["seedImage", "maskImage", "referenceImages", "inputs", "lora"];
        for name in inputs {
            at(task, &format!("/{name}")).to_string().hash(&mut hasher);
        }
        let digest = hasher.finish();
        uuid.hash(&mut hasher);
        let seed = task["seed"].as_u64().unwrap_or_else(|| (hasher.finish() >> 32).max(1));
        let prompt = task["positivePrompt"].as_str().unwrap_or_default();
        let format = task["outputFormat"].as_str().and_then(Format::parse).unwrap_or(Format::Jpeg);
        Self {
            uuid,
            is_async: task["deliveryMethod"] == "async",
            wish: Wish {
                subject: format!("{prompt} {digest}"),
                count,
                size: (side("width"), side("height")),
                format,
                alpha: false,
                addresses: member == "imageURL",
                origin: run.origin.clone(),
            },
            seed,
            member,
            cost: task["includeCost"] == true,
            checks_content: at(task, "/safety/checkContent") == true || task["checkNSFW"] == true,
        }
    }

    /// The price, where nothing is drawn.
    pub fn price(&self) -> String {
        let cost = COST * f64::from(self.wish.count);
        json!({ "taskType": "imageInference", "taskUUID": self.uuid, "cost": cost }).to_string()
    }

    /// That it was taken, where results come later.
    pub fn receipt(&self) -> String {
        json!({ "taskType": "imageInference", "taskUUID": self.uuid }).to_string()
    }

    /// The results as members of objects, or what the fault makes of them.
    pub fn results(&self, run: &Run, flagged: Flagged) -> Vec<String> {
        match run.fault {
            Some(Fault::NoPicture(form)) if form % 3 == 1 => return vec![self.members(&Item::Nothing, 0, false)],
            Some(Fault::NoPicture(_)) => return Vec::new(),
            _ => {}
        }
        let items = pictures::make(&self.wish, run.behaviour, run.fault, run.state);
        let last = items.len().saturating_sub(1);
        let each = items.iter().enumerate();
        let is_flagged = |at| flagged == Flagged::All || (flagged == Flagged::Last && at == last);
        each.map(|(at, item)| self.members(item, at, is_flagged(at))).collect()
    }

    fn members(&self, item: &Item, at: usize, flagged: bool) -> String {
        let mut members = format!(r#""taskType":"imageInference","taskUUID":"{}""#, self.uuid);
        let mut add = |name: &str, value: &str| {
            members.push_str(",\"");
            members.push_str(name);
            members.push_str("\":");
            members.push_str(value);
        };
        add("imageUUID", &Value::from(image_uuid(&self.uuid, at)).to_string());
        match (item, self.member) {
            (Item::Address(url), _) => add("imageURL", &Value::from(url.as_str()).to_string()),
            (Item::Base64(text), "imageDataURI") => {
                add("imageDataURI", &format!("\"data:{};base64,{text}\"", self.wish.format.mime()));
            }
            (Item::Base64(text), _) => add("imageBase64Data", &format!("\"{text}\"")),
            (Item::Nothing, _) => {}
        }
        add("seed", &(self.seed + at as u64).to_string());
        if self.checks_content || flagged {
            add("NSFWContent", if flagged { "true" } else { "false" });
        }
        if self.cost {
            add("cost", &COST.to_string());
        }
        members
    }

    /// The names under which the pictures can be used as inputs.
    pub fn image_uuids(&self) -> impl Iterator<Item = String> {
        (0..self.wish.count as usize).map(|at| image_uuid(&self.uuid, at))
    }
}

/// A name in the form of a UUID v4.
fn image_uuid(task: &str, at: usize) -> String {
    let mut hasher = DefaultHasher::new();
    (task, at).hash(&mut hasher);
    let first = hasher.finish();
    first.hash(&mut hasher);
    let second = hasher.finish();
    format!(
        "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
        first >> 32,
        first >> 16 & 0xffff,
        first & 0xfff,
        second >> 52,
        second & 0xffff_ffff_ffff
    )
}
