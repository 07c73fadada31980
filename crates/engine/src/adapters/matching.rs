//! Where the layers of an adapter file go in a model, and whether they fit there.

use std::collections::BTreeMap;

use super::change::{self, Change, Stored};
use super::family;
use super::file::{AdapterFile, Pieces};
use super::layers::{self, DENOISER, Spelling};
use super::names::{Names, Place};
use super::patch::{Magnitude, Patch};
use super::piece::Piece;
use super::report::{MatchReport, MatchedLayer, Unmatched};
use crate::{Error, Result};

/// The components of a model by name, with the names of their layers.
pub type Components = BTreeMap<String, Names>;

/// How much of an adapter is used.
#[derive(Debug, Clone, Copy)]
pub struct Weighted {
    /// In the network that draws.
    pub denoiser: f64,
    /// In the text encoders.
    pub text: f64,
}

/// Changes by component and tensor.
pub type Found = BTreeMap<String, BTreeMap<String, Vec<Patch>>>;

/// One file against a model.
struct Matching<'a> {
    file: &'a AdapterFile,
    number: usize,
    weighted: Weighted,
    family: Option<&'static str>,
    found: Found,
    report: MatchReport,
}

/// A layer of a component that a name of the file means.
struct Target<'a> {
    component: &'a str,
    names: &'a Names,
    place: &'a Place,
}

/// Finds the place of every layer of a file; `number` is how the patches call the file. What does not fit is an error;
/// what the model does not have is in the report.
pub fn find(
    file: &AdapterFile,
    number: usize,
    weighted: Weighted,
    components: &Components,
) -> Result<(Found, MatchReport)> {
    let (layers, strange) = file.layers()?;
    if layers.is_empty() {
        let message = format!("{} is no adapter: it has no layer of any kind", file.path().display());
        return Err(Error::invalid(message).with_hint("name a LoRA file"));
    }
    refuse_other_kinds(file, &layers)?;
    let family = family::guess(&layers, file.metadata());
    let report = MatchReport { path: file.path().to_owned(), family, matched: Vec::new(), unmatched: Vec::new() };
    let mut matching = Matching { file, number, weighted, family, found: Found::new(), report };
    let mut strangers = 0_usize;
    for (name, pieces) in &layers {
        if let Some(target) = target_of(name, pieces, components) {
            matching.add(name, pieces, &target)?;
        } else {
            strangers += usize::from(layers::spoken(name).components.iter().any(|c| DENOISER.contains(c)));
            matching.report.unmatched.push(unmatched(name, components));
        }
    }
    matching.report.unmatched.extend(strange.iter().map(|name| unmatched(name, components)));
    let draws = matching.report.matched.iter().any(|layer| DENOISER.contains(&layer.component.as_str()));
    if matching.report.matched.is_empty() || (strangers > 0 && !draws) {
        return Err(matching.foreign(components));
    }
    Ok((matching.found, matching.report))
}

/// Kinds of adapters that are not supported, with the layers that are of them.
fn refuse_other_kinds(file: &AdapterFile, layers: &BTreeMap<String, Pieces<'_>>) -> Result<()> {
    let mut others = BTreeMap::<&str, Vec<&str>>::new();
    for (name, pieces) in layers {
        for piece in pieces.keys() {
            if let Piece::Other(kind) = piece {
                others.entry(kind).or_default().push(name);
            }
        }
    }
    let Some((kind, names)) = others.into_iter().next() else { return Ok(()) };
    Err(file
        .broken(format!("{} layers are {kind}, which is not supported: {}", names.len(), names.join(", ")))
        .with_hint("use an adapter of the kinds LoRA, LoCon, LoHa, LoKr or DoRA"))
}

/// The layer that a name means: the first component that has it and that it fits, else the first that has it.
fn target_of<'a>(name: &str, pieces: &Pieces<'_>, components: &'a Components) -> Option<Target<'a>> {
    let spoken = layers::spoken(name);
    let mut first = None;
    for component in spoken.components {
        let Some((component, names)) = components.get_key_value(*component) else { continue };
        let place = match spoken.spelling {
            Spelling::Dotted => names.dotted(spoken.layer).or_else(|| names.joined(spoken.layer)),
            Spelling::Joined => names.joined(spoken.layer),
        };
        let Some(place) = place else { continue };
        let target = Target { component, names, place };
        let fits =
            change::read(pieces).ok().flatten().is_none_or(|(change, _)| target.split(&change, "weight").is_ok());
        if fits {
            return Some(target);
        }
        first = first.or(Some(target));
    }
    first
}

fn unmatched(name: &str, components: &Components) -> Unmatched {
    let spoken = layers::spoken(name);
    let names = spoken.components.iter().find_map(|component| components.get(*component));
    let nearest = names.and_then(|names| names.nearest(spoken.layer)).map(str::to_owned);
    Unmatched { name: name.to_owned(), nearest }
}

/// The rows of a change that are a tensor's: all of them, or some of a fused projection.
type Rows = Option<std::ops::Range<i64>>;

impl Target<'_> {
    /// The tensors of this kind (`weight`, `bias`) that a change is spread over, or why it does not fit.
    fn split(&self, change: &Change, kind: &str) -> Result<Vec<(String, Rows)>, String> {
        let (outputs, inner) = change.size()?;
        let layers: &[String] = match self.place {
            Place::One(layer) | Place::Halves(layer) => std::slice::from_ref(layer),
            Place::Fused(layers) => layers,
        };
        let mut tensors = Vec::with_capacity(layers.len());
        let mut next: i64 = 0;
        for layer in layers {
            let tensor = format!("{layer}.{kind}");
            let Some(shape) = self.names.shape(&tensor) else {
                return Err(format!("{} has no {tensor}", self.component));
            };
            let number = |n: &u64| i64::try_from(*n).unwrap_or(i64::MAX);
            let rows = shape.first().map_or(1, number);
            if shape.iter().skip(1).map(number).fold(1, i64::saturating_mul) != inner || !same_layout(change, shape) {
                return Err(self.unfit(&tensor, shape, (outputs, inner)));
            }
            let range = next..next.saturating_add(rows);
            next = range.end;
            tensors.push((tensor, (layers.len() > 1).then_some(range)));
        }
        if next == outputs {
            return Ok(tensors);
        }
        let shapes: Vec<_> = tensors.iter().filter_map(|(tensor, _)| self.names.shape(tensor)).collect();
        Err(format!(
            "{} of {} together have {next} rows {shapes:?}, the adapter's layer has {outputs}",
            layers.join(", "),
            self.component
        ))
    }

    fn unfit(&self, tensor: &str, shape: &[u64], (outputs, inner): (i64, i64)) -> String {
        format!("{tensor} of {} has shape {shape:?}, the adapter's layer is {outputs} by {inner}", self.component)
    }
}

/// Where a factor has a kernel, it must be the weight's: 1 by 9 inputs are not 9 by 1.
fn same_layout(change: &Change, shape: &[u64]) -> bool {
    let ours: Vec<i64> = shape.iter().skip(1).map(|&n| i64::try_from(n).unwrap_or(i64::MAX)).collect();
    let same = |theirs: &[i64]| {
        let kernel = theirs.get(1..).unwrap_or_default();
        theirs.iter().all(|&n| n == 1) || kernel.iter().all(|&n| n == 1) || theirs == ours.as_slice()
    };
    match change {
        Change::LowRank { down, core: None, .. } => same(down.shape.get(1..).unwrap_or_default()),
        Change::Difference(stored) => {
            stored.shape.len() == shape.len() && same(stored.shape.get(1..).unwrap_or_default())
        }
        Change::LowRank { core: Some(core), .. } => core.shape.get(2..) == ours.get(1..),
        Change::Hadamard { .. } | Change::Kronecker { .. } => true,
    }
}

/// The lengths of `DoRA`. PEFT's are always those of rows, whatever the shape; `LyCORIS` may have those of columns, and then
/// as a row.
fn magnitude_of(stored: impl Fn(Piece) -> Option<Stored>) -> Option<Magnitude> {
    if let Some(stored) = stored(Piece::Magnitude) {
        return Some(Magnitude { stored, by_input: false });
    }
    let stored = stored(Piece::DoraScale)?;
    let by_input = stored.shape.first() == Some(&1) && stored.shape.get(1).is_some_and(|&n| n != 1);
    Some(Magnitude { stored, by_input })
}

impl Matching<'_> {
    /// Takes what a layer changes about its weight and its bias.
    fn add(&mut self, name: &str, pieces: &Pieces<'_>, target: &Target<'_>) -> Result<()> {
        let is_text = !DENOISER.contains(&target.component);
        let weight = if is_text { self.weighted.text } else { self.weighted.denoiser };
        let change = change::read(pieces).map_err(|reason| self.file.broken(format!("{name}: {reason}")))?;
        let stored = |piece| pieces.get(&piece).map(|info| Stored::of(info));
        let mut layer = MatchedLayer {
            name: name.to_owned(),
            component: target.component.to_owned(),
            tensors: Vec::new(),
            kind: change.as_ref().map_or("difference", |(change, _)| change.kind()).to_owned(),
            rank: change.as_ref().and_then(|(_, rank)| *rank),
            alpha: None,
            scale: weight,
        };
        if let Some(rank) = layer.rank {
            let (alpha, factor) = self.alpha(name, pieces, target, rank)?;
            (layer.alpha, layer.scale) = (Some(alpha), weight * factor);
        }
        let magnitude = magnitude_of(stored);
        if let Some((change, _)) = change {
            if let Some(magnitude) = &magnitude {
                self.check_magnitude(name, magnitude, &change, target)?;
                layer.kind = format!("DoRA {}", layer.kind);
            }
            self.spread(&mut layer, "weight", &change, magnitude.as_ref(), target)?;
        } else if magnitude.is_some() {
            return Err(self.file.broken(format!("{name}: its factors are missing")));
        }
        for (piece, scale) in [(Piece::UpBias, layer.scale), (Piece::BiasDifference, weight)] {
            let Some(bias) = stored(piece) else { continue };
            let scaled = layer.scale;
            layer.scale = scale;
            self.spread(&mut layer, "bias", &Change::Difference(bias), None, target)?;
            layer.scale = scaled;
        }
        if layer.tensors.is_empty() {
            return Err(self.file.broken(format!("{name}: it has an alpha and nothing that it scales")));
        }
        self.report.matched.push(layer);
        Ok(())
    }

    /// The alpha of a layer, and by what its change is multiplied for it.
    fn alpha(&self, name: &str, pieces: &Pieces<'_>, target: &Target<'_>, rank: i64) -> Result<(f64, f64)> {
        #[expect(clippy::cast_precision_loss, reason = "a rank is a small number")]
        let rank = rank as f64;
        if let Some(alpha) = pieces.get(&Piece::Alpha) {
            let alpha = self.file.scalar(alpha)?;
            return Ok((alpha, alpha / rank));
        }
        let layer = layers::spoken(name).layer;
        let (alpha, by_root) = self.file.setting_of(target.component, layer);
        let alpha = alpha.unwrap_or(rank);
        Ok((alpha, alpha / if by_root { rank.sqrt() } else { rank }))
    }

    /// Notes a change for each tensor that it is spread over.
    fn spread(
        &mut self,
        layer: &mut MatchedLayer,
        kind: &str,
        change: &Change,
        magnitude: Option<&Magnitude>,
        target: &Target<'_>,
    ) -> Result<()> {
        let tensors = target.split(change, kind).map_err(|reason| self.misfit(&layer.name, &reason))?;
        for (tensor, rows) in tensors {
            let patch = Patch {
                file: self.number,
                change: change.clone(),
                scale: layer.scale,
                rows,
                swapped: matches!(target.place, Place::Halves(_)),
                magnitude: magnitude.cloned(),
            };
            layer.tensors.push(tensor.clone());
            let tensors = self.found.entry(target.component.to_owned()).or_default();
            tensors.entry(tensor).or_default().push(patch);
        }
        Ok(())
    }

    fn check_magnitude(&self, name: &str, magnitude: &Magnitude, change: &Change, target: &Target<'_>) -> Result<()> {
        let outputs = change.size().map_err(|reason| self.misfit(name, &reason))?.0;
        let numbers = magnitude.stored.shape.iter().fold(1, |product: i64, &n| product.saturating_mul(n));
        let inputs = match target.place {
            Place::One(layer) => target.names.shape(&format!("{layer}.weight")).and_then(|shape| shape.get(1)).copied(),
            Place::Fused(_) | Place::Halves(_) => None,
        };
        let fits = if magnitude.by_input {
            inputs.is_some_and(|inputs| u64::try_from(numbers) == Ok(inputs))
        } else {
            numbers == outputs
        };
        if fits {
            return Ok(());
        }
        Err(self.misfit(
            name,
            &format!("its magnitudes have shape {:?}, the layer has {outputs} rows", magnitude.stored.shape),
        ))
    }

    /// A layer that is in the model but does not fit.
    fn misfit(&self, name: &str, reason: &str) -> Error {
        let made_for = self.family.map(|family| format!("; the adapter was made for {family}")).unwrap_or_default();
        Error::invalid(format!(
            "adapter {}: {name} does not fit the model: {reason}{made_for}",
            self.file.path().display()
        ))
        .with_hint("use an adapter that was made for this model's family")
    }

    /// An adapter none of whose layers the model has.
    fn foreign(&self, components: &Components) -> Error {
        let known: Vec<_> = components.keys().map(String::as_str).collect();
        let made_for = match self.family {
            Some(family) => format!("it was made for {family}"),
            None => "which family it was made for cannot be told".to_owned(),
        };
        Error::invalid(format!(
            "adapter {} is not for this model: no layer that draws is in its {}, and {made_for}; not found: {}",
            self.file.path().display(),
            known.join(", "),
            self.report.unmatched_names()
        ))
        .with_hint("use an adapter that was made for this model's family")
    }
}
