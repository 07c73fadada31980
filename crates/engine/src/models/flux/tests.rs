//! A network that is wide enough for what small ones do not meet.

use std::path::Path;
use std::sync::Arc;

use easel_catalog::TensorFile;
use safetensors::tensor::{Dtype, TensorView};
use tch::{Device, Kind, Tensor};
use torch_shim::Generator;

use super::{Conditions, FluxTransformer, at_once};
use crate::config::FluxConfig;
use crate::parts::{Form, Part, PartTensor};
use crate::weights::WeightMap;

const WIDTH: i64 = 128;
const PATCH: i64 = 4;
const TEXT: i64 = 6;

fn config() -> FluxConfig {
    FluxConfig {
        in_channels: PATCH,
        out_channels: PATCH,
        double_blocks: 1,
        single_blocks: 1,
        heads: 16,
        head_dim: 8,
        text_dim: TEXT,
        pooled_dim: TEXT,
        guidance_embeds: false,
        axes: [2, 2, 4],
    }
}

/// Names, inputs and outputs of the matrices.
fn matrices() -> Vec<(String, i64, i64)> {
    let mut all = Vec::new();
    let mut add = |name: &str, inputs: i64, outputs: i64| all.push((name.to_owned(), inputs, outputs));
    add("x_embedder", PATCH, WIDTH);
    add("context_embedder", TEXT, WIDTH);
    for (name, inputs) in [("timestep_embedder", 256), ("text_embedder", TEXT)] {
        add(&format!("time_text_embed.{name}.linear_1"), inputs, WIDTH);
        add(&format!("time_text_embed.{name}.linear_2"), WIDTH, WIDTH);
    }
    let double = "transformer_blocks.0";
    for name in ["to_q", "to_k", "to_v", "add_q_proj", "add_k_proj", "add_v_proj", "to_out.0", "to_add_out"] {
        add(&format!("{double}.attn.{name}"), WIDTH, WIDTH);
    }
    for (norm, feed_forward) in [("norm1", "ff"), ("norm1_context", "ff_context")] {
        add(&format!("{double}.{norm}.linear"), WIDTH, 6 * WIDTH);
        add(&format!("{double}.{feed_forward}.net.0.proj"), WIDTH, 4 * WIDTH);
        add(&format!("{double}.{feed_forward}.net.2"), 4 * WIDTH, WIDTH);
    }
    let single = "single_transformer_blocks.0";
    for name in ["to_q", "to_k", "to_v"] {
        add(&format!("{single}.attn.{name}"), WIDTH, WIDTH);
    }
    add(&format!("{single}.norm.linear"), WIDTH, 3 * WIDTH);
    add(&format!("{single}.proj_mlp"), WIDTH, 4 * WIDTH);
    add(&format!("{single}.proj_out"), 5 * WIDTH, WIDTH);
    add("norm_out.linear", WIDTH, 2 * WIDTH);
    add("proj_out", WIDTH, PATCH);
    all
}

/// A file with any weights, as a part.
fn part(folder: &Path) -> Part {
    let mut noise = Generator::new(4).unwrap();
    let mut bytes = |shape: &[i64]| -> Vec<u8> {
        let numbers = Vec::<f32>::try_from((noise.randn(shape).unwrap() * 0.08).flatten(0, -1)).unwrap();
        numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
    };
    let mut tensors = Vec::new();
    for (name, inputs, outputs) in matrices() {
        tensors.push((format!("{name}.weight"), vec![outputs, inputs], bytes(&[outputs, inputs])));
        tensors.push((format!("{name}.bias"), vec![outputs], bytes(&[outputs])));
    }
    let double =
        ["norm_q", "norm_k", "norm_added_q", "norm_added_k"].map(|name| format!("transformer_blocks.0.attn.{name}"));
    let single = ["norm_q", "norm_k"].map(|name| format!("single_transformer_blocks.0.attn.{name}"));
    for name in double.into_iter().chain(single) {
        tensors.push((format!("{name}.weight"), vec![8], bytes(&[8])));
    }
    let path = folder.join("model.safetensors");
    let views = tensors.iter().map(|(name, shape, bytes)| {
        let shape = shape.iter().map(|&n| usize::try_from(n).unwrap()).collect();
        (name.as_str(), TensorView::new(Dtype::F32, shape, bytes).unwrap())
    });
    safetensors::serialize_to_file(views, None, &path).unwrap();
    let file = Arc::new(TensorFile::open(&path).unwrap());
    let tensors = file.tensors.iter().map(|info| PartTensor {
        name: info.name.clone(),
        file: Arc::clone(&file),
        info: info.clone(),
        form: Form::Whole,
    });
    let (name, class) = ("transformer".to_owned(), "FluxTransformer2DModel".to_owned());
    Part { name, class, config: serde_json::Map::new(), tensors: tensors.collect(), patches: None }
}

/// Which times are prepared together changes nothing but last places, and the same times give the same numbers, in whatever
/// order the network is asked.
#[test]
fn a_time_says_the_same_whatever_it_is_prepared_with() {
    let _no_grad = tch::no_grad_guard();
    let folder = tempfile::tempdir().unwrap();
    let weights = WeightMap::of(&part(folder.path()), Device::Cpu, Kind::Float).unwrap();
    let transformer = FluxTransformer::open(&weights, config()).unwrap();
    let noise = |shape: &[i64]| Generator::new(5).unwrap().randn(shape).unwrap();
    let (text, pooled, patches) = (noise(&[1, 10, TEXT]), noise(&[1, TEXT]), noise(&[1, 32 * 32, PATCH]));
    assert_eq!(at_once(&config(), 32 * 32 + 10, 1), 32);
    assert_eq!(at_once(&config(), 32 * 31 + 10, 1), 1);

    let told: Vec<f64> = (0..70).map(|i| f64::from(70 - i) / 70.0).collect();
    let asked = [told[0], told[31], told[32], told[69], 0.123, told[31], told[0]];
    let at_times = |times: &[f64]| -> Vec<Tensor> {
        let conditions = Conditions { text: &text, pooled: &pooled, guidance: None, grid: (32, 32), times };
        let conditioning = transformer.condition(&conditions).unwrap();
        asked.iter().map(|time| transformer.forward(&patches, *time, &conditioning).unwrap()).collect()
    };
    let (together, alone) = (at_times(&told), at_times(&[]));
    let largest = |x: &Tensor| x.abs().max().double_value(&[]);
    for ((time, together), alone) in asked.iter().zip(&together).zip(&alone) {
        let difference = largest(&(together - alone)) / largest(alone);
        assert!(difference < 2e-6, "{time}: {difference}");
    }
    assert_eq!(together[0], together[6]);
    assert!(largest(&(&together[0] - &together[1])) > 1e-3, "time counts");
}
