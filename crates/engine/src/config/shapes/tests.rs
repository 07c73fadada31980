use serde_json::json;

use super::scheduler::{Marks, apply, sd, sdxl};
use super::{Facts, UNetHints, clip, flux, groups_of, heads_of, t5, unet};
use crate::keymap::Shapes;

fn shapes(list: &[(&str, &[u64])]) -> Shapes {
    list.iter().map(|(name, shape)| ((*name).to_owned(), shape.to_vec())).collect()
}

#[test]
fn heads_and_groups_fit_the_widths() {
    assert_eq!([320, 1280, 768, 32, 96, 20, 3].map(heads_of), [5, 20, 12, 1, 3, 5, 3]);
    assert_eq!(groups_of(&[320, 640]), 32);
    assert_eq!(groups_of(&[48, 24]), 8);
    assert_eq!(groups_of(&[7]), 1);
}

#[test]
fn a_head_is_shared_out_to_even_axes() {
    for (head, axes) in [(128, [16, 56, 56]), (64, [8, 28, 28]), (16, [4, 6, 6]), (32, [4, 14, 14])] {
        let names = shapes(&[
            ("single_transformer_blocks.0.attn.norm_q.weight", &[head]),
            ("x_embedder.weight", &[head * 2, 64]),
            ("proj_out.weight", &[64, head * 2]),
            ("context_embedder.weight", &[head * 2, 10]),
            ("time_text_embed.text_embedder.linear_1.weight", &[head * 2, 11]),
        ]);
        let config = flux(&Facts::new("transformer", &names)).unwrap();
        assert_eq!(config["axes_dims_rope"], json!(axes));
        assert_eq!((&config["num_attention_heads"], &config["guidance_embeds"]), (&json!(2), &json!(false)));
    }
}

#[test]
fn what_is_missing_is_named() {
    let none = Shapes::new();
    let facts = Facts::new("x", &none);
    for (error, named) in [
        (unet(&facts, UNetHints::default()).unwrap_err(), "0 levels"),
        (clip(&facts, false).unwrap_err(), "token_embedding.weight is missing"),
        (t5(&facts).unwrap_err(), "relative_attention_bias.weight is missing"),
        (flux(&facts).unwrap_err(), "no block"),
    ] {
        let text = error.to_string();
        assert!(text.starts_with("x: ") && text.contains(named), "{text}");
    }
    let odd = shapes(&[("text_model.embeddings.token_embedding.weight", &[5])]);
    assert!(clip(&Facts::new("x", &odd), false).unwrap_err().to_string().contains("has shape [5]"));
}

#[test]
fn marks_go_before_the_family() {
    let mut config = sdxl(Marks::default());
    assert_eq!((&config["prediction_type"], &config["timestep_spacing"]), (&json!("epsilon"), &json!("leading")));
    apply(&mut config, Marks { velocity: true, zero_snr: true });
    assert_eq!((&config["prediction_type"], &config["timestep_spacing"]), (&json!("v_prediction"), &json!("trailing")));
    assert_eq!(sd(false, Marks::default())["_class_name"], "PNDMScheduler");
    assert_eq!(sd(true, Marks { velocity: true, zero_snr: false })["prediction_type"], "v_prediction");
}
