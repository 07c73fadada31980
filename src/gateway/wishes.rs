//! What a model makes of a request's wishes: hard ones are honoured or the candidate is skipped, soft ones that it does
//! not understand are left out and named.

use super::sizing;
use crate::generation::{AspectRatio, GenerationRequest, Model, ModelId, Ratios, SizeWish, Support, Wish};

/// The request as this model gets it.
pub(super) struct Fitted {
    /// The request, without the wishes that are not understood; an aspect ratio has become a size.
    pub request: GenerationRequest,
    /// The wishes that were left out.
    pub ignored: Vec<Wish>,
}

/// Hard wishes that the model cannot honour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unmet {
    /// Which.
    pub wishes: Vec<Wish>,
    /// What cannot be done and what is nearest, for people.
    pub message: String,
}

impl Unmet {
    /// The category in `attempts`: it names the fields.
    pub(super) fn reason(&self) -> String {
        let fields: Vec<_> = self.wishes.iter().map(|wish| wish.field()).collect();
        format!("unsupported_{}", fields.join("_and_"))
    }
}

/// Fits `request` to `model`. With `strict`, soft wishes are hard.
pub(super) fn fit(request: &GenerationRequest, id: &ModelId, model: &Model, strict: bool) -> Result<Fitted, Unmet> {
    let mut request = request.clone();
    let mut unmet = Unmet { wishes: Vec::new(), message: String::new() };
    let mut refuse = |wish: Wish, why: String| {
        unmet.wishes.push(wish);
        unmet.message = if unmet.message.is_empty() { why } else { format!("{}; {why}", unmet.message) };
    };

    let wished = starting_size(&request, model);
    match size(wished, model) {
        Ok(size) => request.size = size,
        Err((wish, why)) => {
            refuse(wish, format!("{} {} cannot be had from {id}: {why}", wish.field(), spelled(request.size)));
        }
    }
    for (wish, why) in given_pictures(&request, model) {
        refuse(wish, format!("{id} takes no such {}: {why}", wish.field()));
    }
    request.strict = strict;
    let ignored = leave_out(&mut request, model);
    if strict {
        for wish in &ignored {
            refuse(*wish, format!("{} is not supported by {id}", wish.field()));
        }
    }
    if unmet.wishes.is_empty() { Ok(Fitted { request, ignored }) } else { Err(unmet) }
}

/// Without a word about the size, what is made of a picture is as large as it, or as near to it as the model comes.
fn starting_size(request: &GenerationRequest, model: &Model) -> SizeWish {
    match (request.size, &request.image) {
        (SizeWish::ModelDefault, Some(image))
            if model.supports.size.is_sent() && model.limits.ratios == Ratios::Sized =>
        {
            if sizing::refusal(image.size, &model.limits).is_none() {
                return SizeWish::Exact(image.size);
            }
            SizeWish::Aspect(AspectRatio { width: image.size.width, height: image.size.height })
        }
        (size, _) => size,
    }
}

/// The hard wishes beside the size that the model cannot honour, and why.
fn given_pictures(request: &GenerationRequest, model: &Model) -> Vec<(Wish, String)> {
    let (supports, limits) = (model.supports, &model.limits);
    let mut unmet = Vec::new();
    let mut check = |wish: Wish, count: usize, support: Support, most: Option<u32>| {
        if count == 0 {
            return;
        }
        if !support.is_sent() {
            unmet.push((wish, "it cannot use any".to_owned()));
        } else if let Some(most) = most.filter(|most| count > *most as usize) {
            unmet.push((wish, format!("it takes at most {most}")));
        }
    };
    check(Wish::Image, usize::from(request.image.is_some()), supports.image, None);
    check(Wish::Mask, usize::from(request.mask.is_some()), supports.mask, None);
    let references = request.reference_images.len();
    check(Wish::ReferenceImages, references, supports.reference_images, limits.max_reference_images);
    check(Wish::Loras, request.loras.len(), supports.loras, limits.max_loras);
    unmet
}

/// The size that the provider gets, or the wish that it cannot honour and why.
fn size(wish: SizeWish, model: &Model) -> Result<SizeWish, (Wish, String)> {
    let sent = model.supports.size.is_sent();
    match wish {
        SizeWish::ModelDefault => Ok(SizeWish::ModelDefault),
        // A model that takes no size still makes one, and may make the one that is wished for.
        SizeWish::Exact(size) if !sent => {
            let own = model.defaults.size.map_or_else(|| "of its own".to_owned(), |own| own.to_string());
            if model.defaults.size == Some(size) {
                Ok(SizeWish::ModelDefault)
            } else {
                Err((Wish::Size, format!("its size is always {own}")))
            }
        }
        SizeWish::Exact(size) => match sizing::refusal(size, &model.limits) {
            None => Ok(SizeWish::Exact(size)),
            Some(why) => Err((Wish::Size, format!("{why}; the nearest is {}", sizing::nearest(size, &model.limits)))),
        },
        SizeWish::Aspect(ratio) if model.limits.ratios == Ratios::Passed => Ok(SizeWish::Aspect(ratio)),
        SizeWish::Aspect(_) if !sent => Err((Wish::AspectRatio, "its size cannot be chosen".to_owned())),
        SizeWish::Aspect(ratio) => Ok(SizeWish::Exact(sizing::for_ratio(ratio, &model.limits, model.defaults.size))),
    }
}

fn spelled(size: SizeWish) -> String {
    match size {
        SizeWish::ModelDefault => String::new(),
        SizeWish::Exact(size) => size.to_string(),
        SizeWish::Aspect(ratio) => ratio.to_string(),
    }
}

/// Takes the soft wishes out that the model does not understand, and names them.
fn leave_out(request: &mut GenerationRequest, model: &Model) -> Vec<Wish> {
    let supports = model.supports;
    let mut ignored = Vec::new();
    take_unless(supports.seed.is_sent(), &mut request.seed, Wish::Seed, &mut ignored);
    take_unless(supports.negative_prompt.is_sent(), &mut request.negative_prompt, Wish::NegativePrompt, &mut ignored);
    let possible = request.steps.is_none_or(|steps| model.limits.max_steps.is_none_or(|most| steps.get() <= most));
    take_unless(supports.steps.is_sent() && possible, &mut request.steps, Wish::Steps, &mut ignored);
    take_unless(supports.guidance_scale.is_sent(), &mut request.guidance_scale, Wish::GuidanceScale, &mut ignored);
    take_unless(supports.scheduler.is_sent(), &mut request.scheduler, Wish::Scheduler, &mut ignored);
    take_unless(supports.strength.is_sent(), &mut request.strength, Wish::Strength, &mut ignored);
    ignored
}

fn take_unless<T>(understood: bool, field: &mut Option<T>, wish: Wish, ignored: &mut Vec<Wish>) {
    if !understood && field.take().is_some() {
        ignored.push(wish);
    }
}
