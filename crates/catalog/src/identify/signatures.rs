//! The signatures as data: names that a model has, and the lengths of axes that set it apart. Names stand without the
//! prefix under which a file may have them. Sources: `single_file_utils.py` of diffusers, the config probes of InvokeAI,
//! the architectures of spandrel, and the models' own repositories; tables in `docs/MODELS.md`.

use super::words::{Family, Kind, Naming};

/// Prefixes under which a diffusion network may stand in a file, longest first.
pub(super) const PREFIXES: &[&str] =
    &["model.diffusion_model.", "diffusion_model.", "transformer.", "unet.", "model.", "module.", "net.", ""];

/// A tensor that a model has, and, where it matters, the length of one axis.
pub(super) struct Key {
    pub name: &'static str,
    pub axis: Option<(usize, &'static [u64])>,
}

const fn key(name: &'static str) -> Key {
    Key { name, axis: None }
}

const fn sized(name: &'static str, axis: usize, lens: &'static [u64]) -> Key {
    Key { name, axis: Some((axis, lens)) }
}

/// A model that is known by its names.
pub(super) struct Signature {
    pub kind: Kind,
    pub family: Option<Family>,
    pub edition: Option<&'static str>,
    pub naming: Naming,
    pub keys: &'static [Key],
}

const fn network(family: Family, naming: Naming, keys: &'static [Key]) -> Signature {
    Signature { kind: Kind::Transformer, family: Some(family), edition: None, naming, keys }
}

const fn other(name: &'static str, keys: &'static [Key]) -> Signature {
    network(Family::Other(name), Naming::Own, keys)
}

/// Diffusion transformers. First match wins: what has the names of FLUX.1 and more stands before FLUX.1.
pub(super) const TRANSFORMERS: &[Signature] = &[
    network(
        Family::Chroma,
        Naming::Bfl,
        &[
            key("distilled_guidance_layer.in_proj.bias"),
            key("double_blocks.0.img_attn.qkv.weight"),
            key("img_in.weight"),
        ],
    ),
    network(
        Family::Chroma,
        Naming::Diffusers,
        &[
            key("distilled_guidance_layer.in_proj.bias"),
            key("single_transformer_blocks.0.attn.norm_q.weight"),
            key("x_embedder.weight"),
        ],
    ),
    network(
        Family::Flux2,
        Naming::Bfl,
        &[
            key("double_stream_modulation_img.lin.weight"),
            key("single_stream_modulation.lin.weight"),
            key("double_blocks.0.img_attn.qkv.weight"),
        ],
    ),
    network(
        Family::Flux2,
        Naming::Diffusers,
        &[
            key("double_stream_modulation_img.linear.weight"),
            key("single_stream_modulation.linear.weight"),
            key("transformer_blocks.0.attn.to_q.weight"),
        ],
    ),
    other(
        "hunyuan_video",
        &[key("double_blocks.0.img_attn_qkv.weight"), key("txt_in.individual_token_refiner.blocks.0.norm1.weight")],
    ),
    network(
        Family::Flux1,
        Naming::Bfl,
        &[
            key("double_blocks.0.img_attn.norm.key_norm.scale"),
            key("single_blocks.0.linear1.weight"),
            key("img_in.weight"),
            key("txt_in.weight"),
            key("vector_in.in_layer.weight"),
        ],
    ),
    network(
        Family::Flux1,
        Naming::Diffusers,
        &[
            key("single_transformer_blocks.0.attn.norm_q.weight"),
            key("single_transformer_blocks.0.proj_mlp.weight"),
            key("transformer_blocks.0.attn.add_k_proj.weight"),
            key("x_embedder.weight"),
            key("context_embedder.weight"),
            key("time_text_embed.timestep_embedder.linear_1.weight"),
        ],
    ),
    network(
        Family::Sd3,
        Naming::Sgm,
        &[key("joint_blocks.0.context_block.adaLN_modulation.1.bias"), key("x_embedder.proj.weight"), key("pos_embed")],
    ),
    network(
        Family::Sd3,
        Naming::Diffusers,
        &[
            key("transformer_blocks.0.attn.add_k_proj.weight"),
            key("transformer_blocks.0.norm1_context.linear.weight"),
            key("pos_embed.proj.weight"),
            key("context_embedder.weight"),
        ],
    ),
    other(
        "qwen_image",
        &[key("transformer_blocks.0.img_mod.1.weight"), key("transformer_blocks.0.attn.add_k_proj.weight")],
    ),
    other("z_image", &[key("cap_embedder.0.weight"), key("context_refiner.0.attention.qkv.weight")]),
    other("z_image", &[key("cap_embedder.0.weight"), key("context_refiner.0.attention.to_q.weight")]),
    other("wan", &[key("patch_embedding.weight"), key("blocks.0.cross_attn.q.weight")]),
    other(
        "wan",
        &[key("patch_embedding.weight"), key("blocks.0.attn2.to_q.weight"), key("condition_embedder.time_proj.weight")],
    ),
    other("auraflow", &[key("double_layers.0.attn.w1q.weight")]),
    other("auraflow", &[key("joint_transformer_blocks.0.attn.add_k_proj.weight"), key("register_tokens")]),
    other("hidream", &[key("double_stream_blocks.0.block.adaLN_modulation.1.weight")]),
    other("pixart", &[key("t_block.1.weight"), key("y_embedder.y_proj.fc1.weight")]),
    other(
        "pixart",
        &[key("adaln_single.linear.weight"), key("caption_projection.linear_1.weight"), key("pos_embed.proj.weight")],
    ),
    other("ltx_video", &[key("adaln_single.linear.weight"), key("patchify_proj.weight")]),
    other(
        "ltx_video",
        &[key("proj_in.weight"), key("time_embed.emb.timestep_embedder.linear_1.weight"), key("scale_shift_table")],
    ),
    other("stable_cascade", &[key("clf.1.weight"), key("clip_txt_mapper.weight")]),
    other("stable_cascade", &[key("clf.1.weight"), key("effnet_mapper.0.weight")]),
    other("lumina2", &[key("cap_embedder.1.weight"), key("noise_refiner.0.attention.qkv.weight")]),
    other("cogvideox", &[key("transformer_blocks.0.norm1.linear.weight"), key("patch_embed.text_proj.weight")]),
    other("mochi", &[key("blocks.0.attn.qkv_x.weight"), key("t5_yproj.weight")]),
];

/// A family of UNets by its measures.
pub(super) struct UnetFamily {
    pub family: Family,
    pub cross: u64,
    pub channels: &'static [u64],
    /// What the extra embedding takes; empty where there is none.
    pub adm: &'static [u64],
    pub edition: Option<&'static str>,
}

/// The UNets: width of the text, width of the first level, width of the extra embedding.
pub(super) const UNETS: &[UnetFamily] = &[
    UnetFamily { family: Family::Sd1, cross: 768, channels: &[320], adm: &[], edition: None },
    UnetFamily { family: Family::Sd2, cross: 1024, channels: &[320], adm: &[], edition: None },
    UnetFamily { family: Family::Sd2, cross: 1024, channels: &[320], adm: &[1536, 2048], edition: Some("unclip") },
    UnetFamily { family: Family::Sd2, cross: 1024, channels: &[256], adm: &[], edition: Some("x4-upscaler") },
    UnetFamily { family: Family::Sdxl, cross: 2048, channels: &[320], adm: &[2816], edition: None },
    UnetFamily { family: Family::SdxlRefiner, cross: 1280, channels: &[384], adm: &[2560], edition: None },
    UnetFamily { family: Family::Other("kolors"), cross: 2048, channels: &[320], adm: &[5632], edition: None },
];

/// Image upscalers, by `spandrel`'s conditions.
pub(super) const UPSCALERS: &[Signature] = &[
    upscaler("esrgan", &[key("model.0.weight"), key("model.1.sub.0.RDB1.conv1.0.weight")]),
    upscaler(
        "real-esrgan",
        &[key("conv_first.weight"), key("body.0.rdb1.conv1.weight"), key("conv_body.weight"), key("conv_last.weight")],
    ),
    upscaler("bsrgan", &[key("conv_first.weight"), key("RRDB_trunk.0.RDB1.conv1.weight"), key("trunk_conv.weight")]),
    upscaler(
        "swinir",
        &[
            key("conv_first.weight"),
            key("layers.0.residual_group.blocks.0.norm1.weight"),
            key("conv_after_body.weight"),
        ],
    ),
    upscaler("hat", &[key("conv_first.weight"), key("layers.0.residual_group.overlap_attn.norm1.weight")]),
    upscaler("dat", &[key("conv_first.weight"), key("before_RG.1.weight"), key("layers.0.blocks.0.norm1.weight")]),
    upscaler("omnisr", &[key("residual_layer.0.residual_layer.0.layer.0.fn.0.weight")]),
    upscaler("span", &[key("conv_1.sk.weight"), key("block_1.c1_r.sk.weight"), key("upsampler.0.weight")]),
    // Compact networks are numbered: the second is a PReLU, whose weight has one axis.
    upscaler("real-esrgan-compact", &[sized("body.0.weight", 1, &[3]), key("body.1.weight"), key("body.2.weight")]),
];

const fn upscaler(edition: &'static str, keys: &'static [Key]) -> Signature {
    Signature { kind: Kind::Upscaler, family: None, edition: Some(edition), naming: Naming::Own, keys }
}
