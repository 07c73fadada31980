//! Hard and soft wishes against what a model can do.

use super::{nonzero, size};
use crate::gateway::wishes::fit;
use crate::generation::{
    AspectRatio, Defaults, GenerationRequest, Limits, Model, ModelId, ModelKey, ProviderId, Seed, SizeWish, Support,
    Supports, Wish,
};
use crate::providers::scripted::{model, request};

fn id() -> ModelId {
    ModelId { provider: ProviderId::new("p"), key: ModelKey::new("m") }
}

fn all_soft() -> GenerationRequest {
    GenerationRequest {
        seed: Some(Seed::from(1)),
        negative_prompt: Some(String::new()),
        steps: Some(nonzero(20)),
        guidance_scale: Some(3.0),
        scheduler: Some("euler".to_owned()),
        ..request()
    }
}

fn simple() -> Model {
    let none = Support::No;
    let supports = Supports::all(none);
    Model { supports, ..model("m") }
}

#[test]
fn soft_wishes_that_are_not_understood_are_left_out_and_named() {
    let fitted = fit(&all_soft(), &id(), &simple(), false).ok().unwrap();
    assert_eq!(fitted.ignored, [Wish::Seed, Wish::NegativePrompt, Wish::Steps, Wish::GuidanceScale, Wish::Scheduler]);
    assert_eq!(fitted.request, request());
}

#[test]
fn undeclared_support_counts_as_support() {
    let supports = Supports { seed: Support::Undeclared, ..simple().supports };
    let fitted = fit(&all_soft(), &id(), &Model { supports, ..simple() }, false).ok().unwrap();
    assert_eq!(fitted.request.seed, Some(Seed::from(1)));
    assert!(!fitted.ignored.contains(&Wish::Seed));
}

#[test]
fn strict_makes_soft_wishes_hard_and_goes_on_to_the_provider() {
    let unmet = fit(&all_soft(), &id(), &simple(), true).err().unwrap();
    assert_eq!(unmet.reason(), "unsupported_seed_and_negative_prompt_and_steps_and_guidance_scale_and_scheduler");
    assert!(unmet.message.starts_with("seed is not supported by p/m; "), "{}", unmet.message);
    assert!(fit(&all_soft(), &id(), &model("m"), true).ok().unwrap().request.strict);
}

#[test]
fn steps_beyond_the_models_most_are_not_sent() {
    let limits = Limits { max_steps: Some(10), ..Limits::default() };
    let fitted = fit(&all_soft(), &id(), &Model { limits, ..model("m") }, false).ok().unwrap();
    assert_eq!((fitted.request.steps, fitted.ignored), (None, vec![Wish::Steps]));
}

#[test]
fn a_size_that_cannot_be_is_refused_with_the_nearest() {
    let limits = Limits { size_multiple: Some(nonzero(8)), ..Limits::default() };
    let asked = GenerationRequest { size: SizeWish::Exact(size(1023, 600)), ..request() };
    let unmet = fit(&asked, &id(), &Model { limits, ..model("m") }, false).err().unwrap();
    assert_eq!(unmet.wishes, [Wish::Size]);
    assert_eq!(unmet.reason(), "unsupported_size");
    assert_eq!(
        unmet.message,
        "size 1023x600 cannot be had from p/m: its sides are multiples of 8; the nearest is 1024x600"
    );
}

#[test]
fn a_ratio_becomes_a_size() {
    let limits = Limits { sizes: vec![size(512, 512), size(768, 512)], ..Limits::default() };
    let ratio = AspectRatio { width: nonzero(16), height: nonzero(9) };
    let asked = GenerationRequest { size: SizeWish::Aspect(ratio), ..request() };
    let fitted = fit(&asked, &id(), &Model { limits, ..model("m") }, false).ok().unwrap();
    assert_eq!(fitted.request.size, SizeWish::Exact(size(768, 512)));
    let unmet = fit(&asked, &id(), &simple(), false).err().unwrap();
    assert_eq!(unmet.reason(), "unsupported_aspect_ratio");
}

#[test]
fn a_model_that_takes_no_size_may_make_the_wished_one_all_the_same() {
    let fixed = Model { defaults: Defaults { size: Some(size(512, 512)), ..Defaults::default() }, ..simple() };
    let asked = |width| GenerationRequest { size: SizeWish::Exact(size(width, 512)), ..request() };
    let fitted = fit(&asked(512), &id(), &fixed, false).ok().unwrap();
    assert_eq!(fitted.request.size, SizeWish::ModelDefault);
    assert!(fit(&asked(256), &id(), &fixed, false).is_err());
}
