//! Adapters in every spelling, fused as diffusers and PEFT fuse them: every parameter of every component, and what is refused.
//!
//! `docs/ADAPTERS.md` says which spelling is which; `tools/parity/loras.py` writes the fixtures.

#![expect(clippy::indexing_slicing, reason = "a failing test may panic")]

use std::collections::BTreeMap;

use crate::parity_report::Recorder;
use crate::support::{Case, cases, difference, fixtures, pipeline, plain, read, request, set, tensors};
use easel_engine::pool::Pool;
use tch::{Device, Kind};

/// A fused weight.
const MERGED: f64 = 1e-6;
/// A picture, from 0 to 1.
const IMAGE: f64 = 5e-6;
/// A sum over a tensor, relative to the sum of what it is made of: where every number is within [`MERGED`] it is far below.
const SUM: f64 = 2e-7;

/// Every parameter of a case against what was recorded.
fn check(case: &Case) -> (f64, usize) {
    let expected = read(&fixtures().join("adapters").join(format!("{}.safetensors", case.name)));
    let set = set(case);
    let (mut furthest, mut whole, mut changed) = (0.0_f64, 0, 0);
    for part in &crate::support::model(&case.family).parts {
        let sums = case.sums.get(&part.name).cloned().unwrap_or_default();
        let sums: BTreeMap<_, _> = sums.iter().map(|(name, sums)| (plain(name), sums)).collect();
        let (before, after) = (tensors(part, Kind::Float), tensors(&set.patched(part), Kind::Float));
        let mut found = 0;
        for (name, ours) in &after {
            let place = format!("{}: {}.{name}", case.name, part.name);
            let Some([sum, squares]) = sums.get(plain(name)) else {
                assert_eq!(ours, &before[name], "{place} must not change");
                continue;
            };
            found += 1;
            let wide = ours.to_kind(Kind::Double);
            for (ours, theirs, size) in [
                (wide.sum(Kind::Double), *sum, wide.abs().sum(Kind::Double)),
                (wide.square().sum(Kind::Double), *squares, wide.square().sum(Kind::Double)),
            ] {
                let off = (ours.double_value(&[]) - theirs).abs() / size.double_value(&[]);
                assert!(off <= SUM, "{place}: a sum is off by {off:.1e}");
            }
            let full = [name.as_str(), plain(name)].iter().find_map(|name| {
                expected
                    .get(&format!("{}.{name}", part.name))
                    .or_else(|| expected.get(&format!("{}.text_model.{name}", part.name)))
            });
            if let Some(theirs) = full {
                whole += 1;
                furthest = furthest.max(difference(ours, theirs));
            }
        }
        assert_eq!(found, sums.len(), "{}: parameters of {} that were to change", case.name, part.name);
        changed += found;
    }
    assert_eq!(whole, expected.len(), "{}: parameters that are stored whole", case.name);
    (furthest, changed)
}

/// Every spelling and kind, alone and in stacks.
#[test]
fn fused_weights_are_those_of_diffusers() {
    let mut wrong = Vec::new();
    for case in cases() {
        let (furthest, changed) = check(&case);
        println!("{:28} {changed:4} parameters, furthest {furthest:.1e} of {MERGED:.0e}", case.name);
        if furthest.is_nan() || furthest > MERGED {
            wrong.push(case.name);
        }
    }
    assert!(wrong.is_empty(), "too far from diffusers: {wrong:?}");
}

/// A stack of two on each family, to the picture; and what it was put on stays what it was.
#[test]
fn pictures_of_two_adapters_are_those_of_diffusers() {
    for case in cases().into_iter().filter(|case| case.name.ends_with("-stack")) {
        let (pipeline, pool) = (pipeline(&case.family), Pool::new(Device::Cpu));
        let draw = |with: bool| {
            let mut recorder = Recorder::default();
            let mut request = request(&case.family);
            if with {
                request.loras.clone_from(&case.loras);
            }
            let pictures =
                pipeline.generate(&request, &pool, &mut recorder).unwrap_or_else(|e| panic!("{}: {e}", case.name));
            assert_eq!(recorder.warnings, Vec::<String>::new(), "{}", case.name);
            (recorder.dumped.remove("image").expect("an image"), pictures)
        };
        let (_, plain) = draw(false);
        let (image, changed) = draw(true);
        let expected = read(&fixtures().join("adapters").join(format!("{}.picture.safetensors", case.name)));
        let off = difference(&image, &expected["image"]);
        println!("{:28} image {off:.1e} of {IMAGE:.0e}", case.name);
        assert!(off <= IMAGE, "{}: the picture is off by {off:.1e}", case.name);
        assert!(plain != changed, "{}: the adapters change nothing", case.name);
        assert!(draw(false).1 == plain, "{}: the model itself has changed", case.name);
        assert!(draw(true).1 == changed, "{}: the second time is another picture", case.name);
    }
}

/// In half precision a changed weight is the single precision one, rounded once.
#[test]
fn weights_are_rounded_once() {
    let case = cases().into_iter().find(|case| case.name == "sdxl-stack").expect("a stack");
    let set = set(&case);
    let model = crate::support::model("sdxl");
    let part = set.patched(model.part("unet").expect("a unet"));
    let (whole, half) = (tensors(&part, Kind::Float), tensors(&part, Kind::BFloat16));
    for name in case.sums["unet"].keys() {
        assert_eq!(whole[name].to_kind(Kind::BFloat16), half[name], "{name}");
    }
}
