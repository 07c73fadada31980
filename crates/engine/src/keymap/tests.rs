use super::{Form, Naming, Network, Shapes, is_known_spare, map, sections, shapes, without_last_layer};

fn names(list: &[(&str, &[u64])]) -> Shapes {
    list.iter().map(|(name, shape)| ((*name).to_owned(), shape.to_vec())).collect()
}

fn found(list: &[&str]) -> Vec<(Network, Naming, String)> {
    let names = list.iter().map(|name| ((*name).to_owned(), vec![1, 1])).collect();
    sections(&names).into_iter().map(|section| (section.network, section.naming, section.prefix)).collect()
}

#[test]
fn a_network_is_found_behind_any_prefix() {
    let sgm = ["input_blocks.0.0.weight", "time_embed.0.weight", "out.2.weight"];
    for prefix in ["", "model.diffusion_model.", "a.b."] {
        let list: Vec<String> = sgm.iter().map(|name| format!("{prefix}{name}")).collect();
        let list: Vec<&str> = list.iter().map(String::as_str).collect();
        assert_eq!(found(&list), [(Network::UNet, Naming::SgmUNet, prefix.to_owned())]);
    }
    // Not after half a word, and not where a part is missing.
    assert_eq!(found(&["xinput_blocks.0.0.weight", "xtime_embed.0.weight", "xout.2.weight"]), []);
    assert_eq!(found(&["control_model.input_blocks.0.0.weight", "control_model.time_embed.0.weight"]), []);
}

#[test]
fn what_lies_around_a_clip_belongs_to_it() {
    let list = ["text_model.embeddings.token_embedding.weight", "text_model.embeddings.position_embedding.weight"];
    assert_eq!(found(&list), [(Network::Clip, Naming::Clip, String::new())]);
    let names = names(&[
        ("x.embeddings.token_embedding.weight", &[9, 4]),
        ("x.embeddings.position_embedding.weight", &[7, 4]),
        ("x.encoder.layers.0.mlp.fc1.bias", &[4]),
        ("x.text_projection.weight", &[4, 4]),
        ("x.embeddings.position_ids", &[1, 7]),
        ("x.vision_model.pre_layrnorm.weight", &[4]),
        ("y.other", &[1]),
    ]);
    let plan = map(&sections(&names)[0], &names);
    let mapped: Vec<&str> = plan.iter().map(|mapped| mapped.name.as_str()).collect();
    assert_eq!(
        mapped,
        [
            "text_model.embeddings.position_embedding.weight",
            "text_model.embeddings.token_embedding.weight",
            "text_model.encoder.layers.0.mlp.fc1.bias",
            "text_projection.weight",
        ]
    );
    assert!(plan.iter().all(|mapped| mapped.source.starts_with("x.")));
}

#[test]
fn stable_diffusion_2_goes_without_its_last_layer() {
    for (layers, kept) in [(24, 23), (23, 23), (5, 5)] {
        let mut list = names(&[
            ("token_embedding.weight", &[9, 4]),
            ("positional_embedding", &[7, 4]),
            ("text_projection", &[4, 6]),
        ]);
        for i in 0..layers {
            list.insert(format!("transformer.resblocks.{i}.attn.in_proj_weight"), vec![12, 4]);
        }
        let plan = map(&sections(&list)[0], &list);
        assert_eq!(shapes(&plan, &list)["text_projection.weight"], [6, 4]);
        let plan = shapes(&without_last_layer(plan), &list);
        let layer = |name: &&String| name.ends_with(".q_proj.weight");
        assert_eq!(plan.keys().filter(layer).count(), kept);
        assert!(!plan.contains_key("text_projection.weight"));
    }
}

#[test]
fn halves_are_swapped_and_rows_shared_out() {
    let list = names(&[
        ("vector_in.in_layer.weight", &[4, 3]),
        ("img_in.weight", &[4, 2]),
        ("txt_in.weight", &[4, 2]),
        ("final_layer.linear.weight", &[2, 4]),
        ("final_layer.adaLN_modulation.1.bias", &[8]),
        ("single_blocks.0.linear1.weight", &[28, 4]),
        ("single_blocks.0.linear1.bias", &[28]),
        ("double_blocks.0.txt_attn.qkv.bias", &[12]),
    ]);
    let plan = map(&sections(&list)[0], &list);
    let form = |name: &str| plan.iter().find(|mapped| mapped.name == name).map(|mapped| mapped.form.clone()).unwrap();
    assert_eq!(form("norm_out.linear.bias"), Form::Joined(vec![4..8, 0..4]));
    assert_eq!(form("single_transformer_blocks.0.attn.to_k.bias"), Form::Rows(4..8));
    assert_eq!(form("single_transformer_blocks.0.proj_mlp.weight"), Form::Rows(12..28));
    assert_eq!(form("transformer_blocks.0.attn.add_v_proj.bias"), Form::Rows(8..12));
}

#[test]
fn what_nobody_needs_is_known() {
    for name in
        ["model_ema.decay", "a.b.position_ids", "logit_scale", "x.logit_scale", "cond_stage_model.model.visual.proj"]
    {
        assert!(is_known_spare(name), "{name}");
    }
    for name in ["model.diffusion_model.hat.weight", "my_logit_scale", "position_ids.weight"] {
        assert!(!is_known_spare(name), "{name}");
    }
}
