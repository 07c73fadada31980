use serde_json::{Map, Value, json};

use super::UNetConfig;

fn sdxl() -> Map<String, Value> {
    let value = json!({
        "_class_name": "UNet2DConditionModel",
        "block_out_channels": [320, 640, 1280],
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
        "transformer_layers_per_block": [1, 2, 10],
        "attention_head_dim": [5, 10, 20],
        "cross_attention_dim": 2048,
        "use_linear_projection": true,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
        "upcast_attention": null,
        "class_embed_type": null,
    });
    let mut map = value.as_object().cloned().unwrap_or_default();
    map.remove("upcast_attention");
    map
}

fn with(key: &str, value: Value) -> Map<String, Value> {
    let mut map = sdxl();
    map.insert(key.to_owned(), value);
    map
}

fn refused(key: &str, value: Value) -> String {
    UNetConfig::read("unet", &with(key, value)).unwrap_err().to_string()
}

#[test]
fn sdxl_base_is_understood() {
    let config = UNetConfig::read("unet", &sdxl()).unwrap();
    let depths: Vec<_> = config.down.iter().map(|b| b.attention.as_ref().map(|a| a.depths.clone())).collect();
    assert_eq!(depths, [None, Some(vec![2, 2]), Some(vec![10, 10])]);
    let depths: Vec<_> = config.up.iter().map(|b| b.attention.as_ref().map(|a| a.depths.clone())).collect();
    assert_eq!(depths, [Some(vec![10, 10, 10]), Some(vec![2, 2, 2]), None]);
    let mid = config.mid.clone().and_then(|mid| mid.attention).unwrap();
    assert_eq!((mid.depths, mid.heads), (vec![10], 20));
    assert_eq!(config.time.embed_dim, 1280);
    assert_eq!(config.text_width(), Ok(Some(2048)));
    let resamples: Vec<_> = config.up.iter().map(|b| (b.channels, b.resamples)).collect();
    assert_eq!(resamples, [(1280, true), (640, true), (320, false)]);
}

#[test]
fn what_is_not_honoured_is_refused_by_name() {
    for (key, value) in [
        ("dual_cross_attention", json!(true)),
        ("encoder_hid_dim", json!(1024)),
        ("class_embed_type", json!("projection")),
        ("num_class_embeds", json!(10)),
        ("attention_type", json!("gated")),
        ("time_embedding_type", json!("fourier")),
        ("addition_embed_type", json!("image")),
        ("resnet_time_scale_shift", json!("spatial")),
        ("act_fn", json!("tanh")),
        ("mid_block_type", json!("UNetMidBlock2DSimpleCrossAttn")),
        ("num_attention_heads", json!(8)),
        ("norm_num_groups", Value::Null),
        ("conv_in_kernel", json!(4)),
        ("layers_per_block", json!(16_000_000)),
        ("block_out_channels", json!([320, 640, 1_u64 << 62])),
        ("frills", json!("yes")),
    ] {
        let error = refused(key, value);
        assert!(error.starts_with("unet: ") && error.contains(key), "{key}: {error}");
    }
    let error = refused("down_block_types", json!(["DownBlock2D", "KDownBlock2D", "DownBlock2D"]));
    assert_eq!(
        error,
        "unet: KDownBlock2D in down_block_types is not supported, only CrossAttnDownBlock2D and DownBlock2D"
    );
}

#[test]
fn lists_must_have_one_entry_for_each_block() {
    assert!(refused("layers_per_block", json!([2, 2])).contains("layers_per_block has 2 entries"));
    assert!(refused("up_block_types", json!(["UpBlock2D"])).contains("up_block_types has 1 entries"));
    assert!(refused("attention_head_dim", json!([5, 7, 20])).contains("7 (the number of heads) does not divide"));
}

#[test]
fn lopsided_transformers_need_their_own_list_for_the_way_up() {
    let mut map = with("transformer_layers_per_block", json!([1, [1, 2], 3]));
    let error = UNetConfig::read("unet", &map).unwrap_err().to_string();
    assert!(error.contains("reverse_transformer_layers_per_block"), "{error}");
    map.insert("reverse_transformer_layers_per_block".to_owned(), json!([[1, 2, 3], 4, 5]));
    let config = UNetConfig::read("unet", &map).unwrap();
    let depths: Vec<_> = config.up.iter().map(|b| b.attention.as_ref().map(|a| a.depths.clone())).collect();
    assert_eq!(depths, [Some(vec![1, 2, 3]), Some(vec![4, 4, 4]), None]);
    assert_eq!(config.mid.and_then(|mid| mid.attention).map(|a| a.depths), Some(vec![3]));
}

#[test]
fn without_a_middle_block() {
    let config = UNetConfig::read("unet", &with("mid_block_type", Value::Null)).unwrap();
    assert_eq!(config.mid, None);
}
