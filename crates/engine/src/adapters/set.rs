//! A stack of adapters on a model: opened, matched, and ready to change its components.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use easel_engine_protocol::Lora;

use super::file::AdapterFile;
use super::matching::{self, Components, Found, Weighted};
use super::names::Names;
use super::patches::Patches;
use super::report::MatchReport;
use crate::parts::{ModelParts, Part};
use crate::{Error, Result};

/// The components that adapters change.
const CHANGED: [&str; 4] = ["unet", "transformer", "text_encoder", "text_encoder_2"];

/// A stack of adapters on a model.
#[derive(Debug, Default)]
pub struct AdapterSet {
    patches: BTreeMap<String, Arc<Patches>>,
    reports: Vec<MatchReport>,
}

impl AdapterSet {
    /// Matches adapters, in their order, with the components of a model. An adapter that does not fit is refused; one
    /// that fits in part is refused only when `strict`, and otherwise its warning says what is left out.
    pub fn open(loras: &[Lora], model: &ModelParts, strict: bool) -> Result<Self> {
        Self::of(loras, &model.parts, strict)
    }

    /// The same for components alone.
    pub fn of(loras: &[Lora], parts: &[Part], strict: bool) -> Result<Self> {
        if loras.is_empty() {
            return Ok(Self::default());
        }
        let changed = parts.iter().filter(|part| CHANGED.contains(&part.name.as_str()));
        let components: Components = changed.map(|part| (part.name.clone(), Names::of(part))).collect();
        let mut files = Vec::with_capacity(loras.len());
        let mut found = Found::new();
        let mut reports = Vec::with_capacity(loras.len());
        for lora in loras {
            let weighted = weights_of(lora)?;
            let file = Arc::new(AdapterFile::open(&lora.path)?);
            let (more, report) = matching::find(&file, files.len(), weighted, &components)?;
            if strict && !report.unmatched.is_empty() {
                return Err(refusal(&report));
            }
            files.push(file);
            reports.push(report);
            for (component, tensors) in more {
                let known = found.entry(component).or_default();
                for (tensor, patches) in tensors {
                    // A weight of zero changes nothing, and the component stays the one that others use.
                    let patches = patches.into_iter().filter(|patch| patch.scale != 0.0);
                    known.entry(tensor).or_default().extend(patches);
                }
            }
        }
        let mut patches = BTreeMap::new();
        for (component, mut tensors) in found {
            tensors.retain(|_, patches| !patches.is_empty());
            if !tensors.is_empty() {
                patches.insert(component, Arc::new(Patches::new(files.clone(), tensors)));
            }
        }
        Ok(Self { patches, reports })
    }

    /// What the stack changes about the component of this name, if anything.
    pub fn patches_for(&self, component: &str) -> Option<&Arc<Patches>> {
        self.patches.get(component)
    }

    /// The component with the changes: another part, which shares with the first what is not changed; the same where
    /// nothing is.
    pub fn patched<'a>(&self, part: &'a Part) -> Cow<'a, Part> {
        match self.patches_for(&part.name) {
            Some(patches) => Cow::Owned(Part { patches: Some(Arc::clone(patches)), ..part.clone() }),
            None => Cow::Borrowed(part),
        }
    }

    /// How each adapter meets the model, in the order of the stack.
    pub fn reports(&self) -> &[MatchReport] {
        &self.reports
    }

    /// Sentences about what is left out.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        self.reports.iter().filter_map(MatchReport::warning)
    }
}

fn weights_of(lora: &Lora) -> Result<Weighted> {
    let text = lora.text_encoder_weight.unwrap_or(lora.weight);
    if let Some(weight) = [lora.weight, text].into_iter().find(|weight| !weight.is_finite()) {
        return Err(Error::invalid(format!("adapter {}: its weight is {weight}, not a number", lora.path.display())));
    }
    Ok(Weighted { denoiser: lora.weight, text })
}

fn refusal(report: &MatchReport) -> Error {
    let all = report.matched.len() + report.unmatched.len();
    let names: Vec<_> = report.unmatched.iter().map(|layer| layer.name.as_str()).collect();
    let message = format!(
        "adapter {}: {} of {all} layers are not in the model: {}",
        report.path.display(),
        names.len(),
        names.join(", ")
    );
    Error::invalid(message).with_hint("use an adapter that was made for this model, or allow it to be applied in part")
}
