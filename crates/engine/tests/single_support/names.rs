//! The tensors that each network has in diffusers, by its config: an inventory, to make files from.

use easel_engine::config::unet::AttentionConfig;
use easel_engine::config::{ClipConfig, FluxConfig, T5Config, UNetConfig, VaeConfig};

type Names = Vec<(String, Vec<u64>)>;

struct List(Names);

impl List {
    fn add(&mut self, name: &str, shape: &[i64]) {
        self.0.push((name.to_owned(), shape.iter().map(|&n| u64::try_from(n).unwrap()).collect()));
    }

    fn layer(&mut self, name: &str, shape: &[i64]) {
        self.add(&format!("{name}.weight"), shape);
        self.add(&format!("{name}.bias"), &shape[..1]);
    }

    fn norm(&mut self, name: &str, width: i64) {
        self.layer(name, &[width]);
    }

    fn resnet(&mut self, name: &str, inputs: i64, outputs: i64, time: Option<i64>) {
        self.norm(&format!("{name}.norm1"), inputs);
        self.layer(&format!("{name}.conv1"), &[outputs, inputs, 3, 3]);
        if let Some(time) = time {
            self.layer(&format!("{name}.time_emb_proj"), &[outputs, time]);
        }
        self.norm(&format!("{name}.norm2"), outputs);
        self.layer(&format!("{name}.conv2"), &[outputs, outputs, 3, 3]);
        if inputs != outputs {
            self.layer(&format!("{name}.conv_shortcut"), &[outputs, inputs, 1, 1]);
        }
    }

    fn transformer(&mut self, name: &str, width: i64, depth: i64, config: &AttentionConfig) {
        self.norm(&format!("{name}.norm"), width);
        let projection: &[i64] = if config.linear_projection { &[width, width] } else { &[width, width, 1, 1] };
        self.layer(&format!("{name}.proj_in"), projection);
        for i in 0..depth {
            let block = format!("{name}.transformer_blocks.{i}");
            for (attention, keys) in [("attn1", width), ("attn2", config.text_dim)] {
                self.add(&format!("{block}.{attention}.to_q.weight"), &[width, width]);
                self.add(&format!("{block}.{attention}.to_k.weight"), &[width, keys]);
                self.add(&format!("{block}.{attention}.to_v.weight"), &[width, keys]);
                self.layer(&format!("{block}.{attention}.to_out.0"), &[width, width]);
            }
            for norm in ["norm1", "norm2", "norm3"] {
                self.norm(&format!("{block}.{norm}"), width);
            }
            self.layer(&format!("{block}.ff.net.0.proj"), &[width * 8, width]);
            self.layer(&format!("{block}.ff.net.2"), &[width, width * 4]);
        }
        self.layer(&format!("{name}.proj_out"), projection);
    }
}

pub fn unet(config: &UNetConfig) -> Names {
    let mut list = List(Vec::new());
    let (first, time) = (config.first_channels, config.time.embed_dim);
    list.layer("conv_in", &[first, config.in_channels, config.conv_in_kernel, config.conv_in_kernel]);
    list.layer("time_embedding.linear_1", &[time, first]);
    list.layer("time_embedding.linear_2", &[time, time]);
    if let Some(width) = config.time.cond_proj_dim {
        list.add("time_embedding.cond_proj.weight", &[first, width]);
    }
    if let Some(added) = config.added {
        list.layer("add_embedding.linear_1", &[time, added.input_dim]);
        list.layer("add_embedding.linear_2", &[time, time]);
    }
    let mut width = first;
    let mut skips = vec![first];
    for (i, block) in config.down.iter().enumerate() {
        let place = format!("down_blocks.{i}");
        for j in 0..block.resnets {
            list.resnet(&format!("{place}.resnets.{j}"), width, block.channels, Some(time));
            width = block.channels;
            skips.push(width);
            if let Some(attention) = &block.attention {
                list.transformer(&format!("{place}.attentions.{j}"), width, attention.depths[j], attention);
            }
        }
        if block.resamples {
            list.layer(&format!("{place}.downsamplers.0.conv"), &[width, width, 3, 3]);
            skips.push(width);
        }
    }
    if let Some(mid) = &config.mid {
        list.resnet("mid_block.resnets.0", width, width, Some(time));
        if let Some(attention) = &mid.attention {
            list.transformer("mid_block.attentions.0", width, attention.depths[0], attention);
            list.resnet("mid_block.resnets.1", width, width, Some(time));
        }
    }
    for (i, block) in config.up.iter().enumerate() {
        let place = format!("up_blocks.{i}");
        for j in 0..block.resnets {
            let skip = skips.pop().unwrap();
            list.resnet(&format!("{place}.resnets.{j}"), width + skip, block.channels, Some(time));
            width = block.channels;
            if let Some(attention) = &block.attention {
                list.transformer(&format!("{place}.attentions.{j}"), width, attention.depths[j], attention);
            }
        }
        if block.resamples {
            list.layer(&format!("{place}.upsamplers.0.conv"), &[width, width, 3, 3]);
        }
    }
    list.norm("conv_norm_out", first);
    list.layer("conv_out", &[config.out_channels, first, config.conv_out_kernel, config.conv_out_kernel]);
    list.0
}

/// Both halves, and the convolutions between that the config has.
pub fn vae(config: &VaeConfig) -> Names {
    let mut list = List(Vec::new());
    let latents = config.latent_channels;
    let inner = config.block_channels[0];
    let middle = |list: &mut List, half: &str| {
        list.resnet(&format!("{half}.mid_block.resnets.0"), inner, inner, None);
        list.resnet(&format!("{half}.mid_block.resnets.1"), inner, inner, None);
        if config.mid_attention {
            let place = format!("{half}.mid_block.attentions.0");
            list.norm(&format!("{place}.group_norm"), inner);
            for projection in ["to_q", "to_k", "to_v", "to_out.0"] {
                list.layer(&format!("{place}.{projection}"), &[inner, inner]);
            }
        }
    };
    let outer = *config.block_channels.last().unwrap();
    list.layer("encoder.conv_in", &[outer, config.out_channels, 3, 3]);
    let levels = config.block_channels.len();
    let mut width = outer;
    for (i, &channels) in config.block_channels.iter().rev().enumerate() {
        for j in 0..config.resnets {
            list.resnet(&format!("encoder.down_blocks.{i}.resnets.{j}"), width, channels, None);
            width = channels;
        }
        if i + 1 < levels {
            list.layer(&format!("encoder.down_blocks.{i}.downsamplers.0.conv"), &[width, width, 3, 3]);
        }
    }
    middle(&mut list, "encoder");
    list.norm("encoder.conv_norm_out", inner);
    list.layer("encoder.conv_out", &[latents * 2, inner, 3, 3]);
    list.layer("decoder.conv_in", &[inner, latents, 3, 3]);
    middle(&mut list, "decoder");
    let mut width = inner;
    for (i, &channels) in config.block_channels.iter().enumerate() {
        for j in 0..=config.resnets {
            list.resnet(&format!("decoder.up_blocks.{i}.resnets.{j}"), width, channels, None);
            width = channels;
        }
        if i + 1 < levels {
            list.layer(&format!("decoder.up_blocks.{i}.upsamplers.0.conv"), &[width, width, 3, 3]);
        }
    }
    list.norm("decoder.conv_norm_out", width);
    list.layer("decoder.conv_out", &[config.out_channels, width, 3, 3]);
    if config.quant_conv {
        list.layer("quant_conv", &[latents * 2, latents * 2, 1, 1]);
    }
    if config.post_quant_conv {
        list.layer("post_quant_conv", &[latents, latents, 1, 1]);
    }
    list.0
}

pub fn clip(config: &ClipConfig) -> Names {
    let mut list = List(Vec::new());
    let width = config.hidden_size;
    list.add("text_model.embeddings.token_embedding.weight", &[config.vocab_size, width]);
    list.add("text_model.embeddings.position_embedding.weight", &[config.positions, width]);
    for i in 0..config.layers {
        let layer = format!("text_model.encoder.layers.{i}");
        for projection in ["q_proj", "k_proj", "v_proj", "out_proj"] {
            list.layer(&format!("{layer}.self_attn.{projection}"), &[width, width]);
        }
        list.norm(&format!("{layer}.layer_norm1"), width);
        list.norm(&format!("{layer}.layer_norm2"), width);
        list.layer(&format!("{layer}.mlp.fc1"), &[config.intermediate_size, width]);
        list.layer(&format!("{layer}.mlp.fc2"), &[width, config.intermediate_size]);
    }
    list.norm("text_model.final_layer_norm", width);
    if let Some(dim) = config.projection_dim {
        list.add("text_projection.weight", &[dim, width]);
    }
    list.0
}

pub fn t5(config: &T5Config) -> Names {
    let mut list = List(Vec::new());
    let (width, inner) = (config.d_model, config.heads * config.d_kv);
    list.add("shared.weight", &[config.vocab_size, width]);
    list.add("encoder.embed_tokens.weight", &[config.vocab_size, width]);
    for i in 0..config.layers {
        let layer = format!("encoder.block.{i}.layer");
        for projection in ["q", "k", "v"] {
            list.add(&format!("{layer}.0.SelfAttention.{projection}.weight"), &[inner, width]);
        }
        list.add(&format!("{layer}.0.SelfAttention.o.weight"), &[width, inner]);
        if i == 0 {
            let name = format!("{layer}.0.SelfAttention.relative_attention_bias.weight");
            list.add(&name, &[config.buckets, config.heads]);
        }
        list.add(&format!("{layer}.0.layer_norm.weight"), &[width]);
        let widening: &[&str] = if config.gated { &["wi_0", "wi_1"] } else { &["wi"] };
        for name in widening {
            list.add(&format!("{layer}.1.DenseReluDense.{name}.weight"), &[config.d_ff, width]);
        }
        list.add(&format!("{layer}.1.DenseReluDense.wo.weight"), &[width, config.d_ff]);
        list.add(&format!("{layer}.1.layer_norm.weight"), &[width]);
    }
    list.add("encoder.final_layer_norm.weight", &[width]);
    list.0
}

pub fn flux(config: &FluxConfig) -> Names {
    let mut list = List(Vec::new());
    let width = config.heads * config.head_dim;
    list.layer("x_embedder", &[width, config.in_channels]);
    list.layer("context_embedder", &[width, config.text_dim]);
    let mut embedders = vec![("timestep_embedder", 256), ("text_embedder", config.pooled_dim)];
    if config.guidance_embeds {
        embedders.push(("guidance_embedder", 256));
    }
    for (name, inputs) in embedders {
        list.layer(&format!("time_text_embed.{name}.linear_1"), &[width, inputs]);
        list.layer(&format!("time_text_embed.{name}.linear_2"), &[width, width]);
    }
    for i in 0..config.double_blocks {
        let block = format!("transformer_blocks.{i}");
        list.layer(&format!("{block}.norm1.linear"), &[width * 6, width]);
        list.layer(&format!("{block}.norm1_context.linear"), &[width * 6, width]);
        for projection in ["to_q", "to_k", "to_v", "add_q_proj", "add_k_proj", "add_v_proj", "to_out.0", "to_add_out"] {
            list.layer(&format!("{block}.attn.{projection}"), &[width, width]);
        }
        for norm in ["norm_q", "norm_k", "norm_added_q", "norm_added_k"] {
            list.add(&format!("{block}.attn.{norm}.weight"), &[config.head_dim]);
        }
        for stream in ["ff", "ff_context"] {
            list.layer(&format!("{block}.{stream}.net.0.proj"), &[width * 4, width]);
            list.layer(&format!("{block}.{stream}.net.2"), &[width, width * 4]);
        }
    }
    for i in 0..config.single_blocks {
        let block = format!("single_transformer_blocks.{i}");
        list.layer(&format!("{block}.norm.linear"), &[width * 3, width]);
        for projection in ["to_q", "to_k", "to_v"] {
            list.layer(&format!("{block}.attn.{projection}"), &[width, width]);
        }
        list.add(&format!("{block}.attn.norm_q.weight"), &[config.head_dim]);
        list.add(&format!("{block}.attn.norm_k.weight"), &[config.head_dim]);
        list.layer(&format!("{block}.proj_mlp"), &[width * 4, width]);
        list.layer(&format!("{block}.proj_out"), &[width, width * 5]);
    }
    list.layer("norm_out.linear", &[width * 2, width]);
    list.layer("proj_out", &[config.out_channels, width]);
    list.0
}
