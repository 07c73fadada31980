use std::path::PathBuf;
use std::sync::Arc;

use easel_catalog::{Container, TensorFile, TensorInfo, TensorType};
use serde_json::Map;

use super::{Names, Place};
use crate::parts::{Form, Part, PartTensor};

/// A component with these tensors, none of which is anywhere.
fn part(name: &str, tensors: &[String]) -> Part {
    let file = Arc::new(TensorFile {
        path: PathBuf::new(),
        len: 0,
        container: Container::Safetensors,
        tensors: Vec::new(),
        metadata: std::collections::BTreeMap::default(),
        warnings: Vec::new(),
    });
    let info = |name: &str| TensorInfo {
        name: name.to_owned(),
        dtype: TensorType::F16,
        shape: vec![4, 4],
        strides: None,
        offset: 0,
        len: 0,
    };
    let tensor =
        |name: &String| PartTensor { name: name.clone(), file: Arc::clone(&file), info: info(name), form: Form::Whole };
    let tensors = tensors.iter().map(tensor).collect();
    Part { name: name.to_owned(), class: String::new(), config: Map::new(), tensors, patches: None }
}

/// A UNet of blocks, each with or without attention; two resnets on the way down, three on the way up.
fn unet(down: &[bool], up: &[bool]) -> Names {
    let mut tensors = vec!["conv_in.weight".to_owned(), "conv_out.bias".to_owned()];
    for (side, sampler, blocks, resnets) in [("down", "downsamplers", down, 2), ("up", "upsamplers", up, 3)] {
        for (i, attends) in blocks.iter().enumerate() {
            for j in 0..resnets {
                tensors.push(format!("{side}_blocks.{i}.resnets.{j}.conv1.weight"));
                if *attends {
                    tensors
                        .push(format!("{side}_blocks.{i}.attentions.{j}.transformer_blocks.0.attn1.to_out.0.weight"));
                }
            }
            if i + 1 < blocks.len() {
                tensors.push(format!("{side}_blocks.{i}.{sampler}.0.conv.weight"));
            }
        }
    }
    for layer in ["resnets.0.conv1", "attentions.0.proj_in", "resnets.1.conv1"] {
        tensors.push(format!("mid_block.{layer}.weight"));
    }
    Names::of(&part("unet", &tensors))
}

fn check(names: &Names, cases: &[(&str, &str)]) {
    for (alias, layer) in cases {
        let place = Place::One((*layer).to_owned());
        assert_eq!(names.dotted(alias), Some(&place), "{alias}");
        assert_eq!(names.joined(&alias.replace('.', "_")), Some(&place), "{alias}");
    }
}

#[test]
fn stabilitys_names_of_sdxl() {
    let names = unet(&[false, true, true], &[true, true, false]);
    let attention = "transformer_blocks.0.attn1.to_out.0";
    check(
        &names,
        &[
            ("input_blocks.0.0", "conv_in"),
            ("out.2", "conv_out"),
            ("input_blocks.1.0.in_layers.2", "down_blocks.0.resnets.0.conv1"),
            ("input_blocks.3.0.op", "down_blocks.0.downsamplers.0.conv"),
            (&format!("input_blocks.4.1.{attention}"), &format!("down_blocks.1.attentions.0.{attention}")),
            (&format!("input_blocks.8.1.{attention}"), &format!("down_blocks.2.attentions.1.{attention}")),
            ("middle_block.0.in_layers.2", "mid_block.resnets.0.conv1"),
            ("middle_block.1.proj_in", "mid_block.attentions.0.proj_in"),
            ("middle_block.2.in_layers.2", "mid_block.resnets.1.conv1"),
            (&format!("output_blocks.3.1.{attention}"), &format!("up_blocks.1.attentions.0.{attention}")),
            ("output_blocks.2.2.conv", "up_blocks.0.upsamplers.0.conv"),
            ("output_blocks.8.0.in_layers.2", "up_blocks.2.resnets.2.conv1"),
        ],
    );
    assert_eq!(names.dotted("input_blocks.9.0.op"), None, "there is no third downsampler");
}

#[test]
fn stabilitys_names_of_stable_diffusion_1() {
    let names = unet(&[true, true, true, false], &[false, true, true, true]);
    check(
        &names,
        &[
            ("output_blocks.2.1.conv", "up_blocks.0.upsamplers.0.conv"),
            ("output_blocks.5.2.conv", "up_blocks.1.upsamplers.0.conv"),
            ("input_blocks.11.0.in_layers.2", "down_blocks.3.resnets.1.conv1"),
        ],
    );
}

#[test]
fn attention_has_the_names_of_its_processor() {
    let names = unet(&[true], &[true]);
    let layer = "down_blocks.0.attentions.1.transformer_blocks.0.attn1";
    let out = format!("{layer}.to_out.0");
    check(&names, &[(&format!("{layer}.processor.to_out"), &out), (&format!("{layer}.to_out"), &out)]);
}

#[test]
fn flux_has_the_names_of_its_makers() {
    let mut tensors = vec!["norm_out.linear.weight".to_owned(), "proj_out.weight".to_owned()];
    for layer in ["attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0", "norm1.linear"] {
        tensors.push(format!("transformer_blocks.0.{layer}.weight"));
    }
    for layer in ["attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp", "proj_out"] {
        tensors.push(format!("single_transformer_blocks.0.{layer}.weight"));
    }
    let names = Names::of(&part("transformer", &tensors));
    let at = |block: &str, layers: &[&str]| layers.iter().map(|layer| format!("{block}.0.{layer}")).collect();
    let qkv = at("transformer_blocks", &["attn.to_q", "attn.to_k", "attn.to_v"]);
    let joint = at("single_transformer_blocks", &["attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"]);
    assert_eq!(names.joined("double_blocks_0_img_attn_qkv"), Some(&Place::Fused(qkv)));
    assert_eq!(names.dotted("single_blocks.0.linear1"), Some(&Place::Fused(joint)));
    assert_eq!(names.dotted("double_blocks.0.txt_attn.qkv"), None, "the model has no such projections");
    let swapped = Place::Halves("norm_out.linear".to_owned());
    assert_eq!(names.dotted("final_layer.adaLN_modulation.1"), Some(&swapped));
    check(
        &names,
        &[
            ("double_blocks.0.img_attn.qkv.1", "transformer_blocks.0.attn.to_k"),
            ("single_blocks.0.linear1.3", "single_transformer_blocks.0.proj_mlp"),
            ("final_layer.linear", "proj_out"),
            ("single_blocks.0.processor.proj", "single_transformer_blocks.0.proj_out"),
        ],
    );
}

#[test]
fn encoders_are_known_with_and_without_their_prefix() {
    for prefix in ["", "text_model."] {
        let layer = format!("{prefix}encoder.layers.3.self_attn.out_proj");
        let names = Names::of(&part("text_encoder", &[format!("{layer}.weight"), format!("{layer}.bias")]));
        for spelled in ["encoder.layers.3.self_attn.out_proj", "text_model.encoder.layers.3.self_attn.out_proj"] {
            check(&names, &[(spelled, &layer)]);
        }
        check(&names, &[("text_model.encoder.layers.3.self_attn.to_out", &layer)]);
    }
}

#[test]
fn what_two_layers_could_be_called_is_nobodys_name() {
    let names = Names::of(&part("unet", &["a.b_c.weight".to_owned(), "a_b.c.weight".to_owned()]));
    assert_eq!(names.joined("a_b_c"), None);
    assert_eq!(names.dotted("a.b_c"), Some(&Place::One("a.b_c".to_owned())));
}

#[test]
fn the_nearest_name_shares_its_ends() {
    let names = unet(&[true, true], &[true, true]);
    let wanted = "down_blocks_1_attentions_0_transformer_blocks_0_attn3_to_out_0";
    assert_eq!(names.nearest(wanted), Some("down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_out.0"));
}
