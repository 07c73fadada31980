//! The text half of CLIP (`CLIPTextModel` and `CLIPTextModelWithProjection` of transformers).

use tch::{Kind, Tensor};

use crate::config::clip::LEGACY_EOS;
use crate::config::{Activation, ClipConfig};
use crate::nn::attention::{Mask, attend, merge_heads, split_heads};
use crate::nn::{Embedding, LayerNorm, Linear};
use crate::parts::Part;
use crate::pool::Network;
use crate::weights::{Scope, WeightMap};
use crate::{Error, Result};

/// A CLIP text encoder.
#[derive(Debug)]
pub struct ClipText {
    name: String,
    config: ClipConfig,
    tokens: Embedding,
    positions: Embedding,
    layers: Vec<Layer>,
    norm: Option<LayerNorm>,
    projection: Option<Linear>,
}

/// Which of an encoder's hidden states is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerChoice {
    /// How many layers at the end are left out: 0 is what the last one gives, `n` is `hidden_states[-(n + 1)]` of
    /// transformers. All of them may be, which leaves the embeddings.
    pub skip: u32,
    /// Whether the final layer norm follows.
    pub norm: bool,
}

impl LayerChoice {
    /// What Stable Diffusion 1 and 2 are conditioned on: the last state, normed (`last_hidden_state`). `clip_skip` leaves
    /// out so many layers and still norms.
    pub const fn normed(clip_skip: u32) -> Self {
        Self { skip: clip_skip, norm: true }
    }

    /// What SDXL is conditioned on: the states that go into the last layer, without a norm (`hidden_states[-2]`).
    /// `clip_skip` leaves out so many layers more.
    pub const fn penultimate(clip_skip: u32) -> Self {
        Self { skip: clip_skip.saturating_add(1), norm: false }
    }
}

/// What an encoder says about a prompt.
#[derive(Debug)]
pub struct TextState {
    /// `(batch, tokens, hidden_size)`: the states of the layer that was chosen.
    pub states: Tensor,
    /// `(batch, projection_dim)`: the projected state of the end of the text; `None` without a projection.
    pub pooled: Option<Tensor>,
}

impl ClipText {
    /// Builds the encoder. transformers up to 5.5 puts `text_model.` before the names of `CLIPTextModel`, later
    /// ones do not; both are read.
    pub fn open(weights: &WeightMap, config: ClipConfig) -> Result<Self> {
        let root = weights.root();
        let prefixed = root.at("text_model");
        let model = if prefixed.has("embeddings.token_embedding.weight") { prefixed } else { root.clone() };
        let width = config.hidden_size;
        let embeddings = model.at("embeddings");
        let layers = model.at("encoder").at("layers");
        let projection = match config.projection_dim {
            Some(dim) => Some(Linear::open_without_bias(&root.at("text_projection"), width, dim)?),
            None => None,
        };
        // An encoder of SDXL that does not pool works without it.
        let norm = if projection.is_some() || model.has("final_layer_norm.weight") {
            Some(LayerNorm::open(&model.at("final_layer_norm"), width, config.norm_eps)?)
        } else {
            None
        };
        Ok(Self {
            name: weights.component().to_owned(),
            tokens: Embedding::open(&embeddings.at("token_embedding"), config.vocab_size, width)?,
            positions: Embedding::open(&embeddings.at("position_embedding"), config.positions, width)?,
            layers: (0..config.layers).map(|i| Layer::open(&layers.at(i), &config)).collect::<Result<_>>()?,
            norm,
            projection,
            config,
        })
    }

    /// The config it was built from.
    pub fn config(&self) -> &ClipConfig {
        &self.config
    }

    /// Encodes `(batch, tokens)` ids. Layers that neither the choice nor the pooled state needs are not computed.
    pub fn forward(&self, ids: &Tensor, layer: LayerChoice) -> Result<TextState> {
        let skip = usize::try_from(layer.skip).unwrap_or(usize::MAX);
        let Some(needed) = self.layers.len().checked_sub(skip) else {
            let (name, layers) = (&self.name, self.layers.len());
            let message = format!("{name} has {layers} layers, so {skip} cannot be left out");
            return Err(Error::invalid(message).with_hint("choose a smaller clip_skip"));
        };
        let (before, after) = self.layers.split_at(needed);
        let chosen = run(self.embed(ids)?, before)?;
        let pooled = match &self.projection {
            Some(projection) => {
                let last = run(chosen.shallow_clone(), after)?;
                Some(projection.forward(&self.end_of_text(ids, &self.normed(&last)?)?)?)
            }
            None => None,
        };
        let states = if layer.norm { self.normed(&chosen)? } else { chosen };
        Ok(TextState { states, pooled })
    }

    /// `(batch, hidden_size)`: the normed last state at the end of each text, not projected (`pooler_output`).
    pub fn pool(&self, ids: &Tensor) -> Result<Tensor> {
        let last = run(self.embed(ids)?, &self.layers)?;
        self.end_of_text(ids, &self.normed(&last)?)
    }

    fn embed(&self, ids: &Tensor) -> Result<Tensor> {
        self.check(ids)?;
        let (_, length) = ids.size2()?;
        Ok(self.tokens.forward(ids)?.f_add(&self.positions.first_rows(length)?)?)
    }

    fn normed(&self, states: &Tensor) -> Result<Tensor> {
        let missing =
            || Error::broken(format!("{}: tensor final_layer_norm.weight is missing from the weights", self.name));
        self.norm.as_ref().ok_or_else(missing)?.forward(states)
    }

    /// An id outside the table is memory outside the table on a GPU, so it is found here.
    fn check(&self, ids: &Tensor) -> Result<()> {
        let (_, length) = ids.size2()?;
        let (vocabulary, positions) = (self.config.vocab_size, self.config.positions);
        if length > positions {
            let name = &self.name;
            return Err(Error::broken(format!("{name}: {length} tokens, but it has {positions} positions")));
        }
        for highest in [ids.f_max()?.f_int64_value(&[])?, ids.f_min()?.f_int64_value(&[])?] {
            if !(0..vocabulary).contains(&highest) {
                let name = &self.name;
                return Err(Error::broken(format!(
                    "{name}: the tokenizer gives id {highest}, but the encoder's vocabulary has {vocabulary}"
                )));
            }
        }
        Ok(())
    }

    /// `(batch, width)`: the state at the end of each text.
    fn end_of_text(&self, ids: &Tensor, states: &Tensor) -> Result<Tensor> {
        let scores = if self.config.eos_token_id == LEGACY_EOS {
            ids.shallow_clone()
        } else {
            ids.f_eq(self.config.eos_token_id)?.f_totype(Kind::Int)?
        };
        // argmax gives the first of equals, so this is the first end of text where padding repeats it.
        let (batch, _, width) = states.size3()?;
        let at = scores.f_argmax(-1, false)?.f_view([batch, 1, 1])?.f_expand([batch, 1, width], false)?;
        Ok(states.f_gather(1, &at.f_to(states.device())?, false)?.f_squeeze_dim(1)?)
    }
}

fn run(hidden: Tensor, layers: &[Layer]) -> Result<Tensor> {
    layers.iter().try_fold(hidden, |hidden, layer| layer.forward(&hidden))
}

impl Network for ClipText {
    fn open(part: &Part, weights: &WeightMap) -> Result<Self> {
        Self::open(weights, ClipConfig::read(&part.name, &part.class, &part.config)?)
    }

    fn is_read_once(_name: &str) -> bool {
        true
    }

    /// An end of text that is the last of the vocabulary is the highest id, which is what the legacy id means.
    fn settings(part: &Part) -> Result<String> {
        let config = ClipConfig::read(&part.name, &part.class, &part.config)?;
        let last = config.eos_token_id == config.vocab_size - 1;
        let eos_token_id = if last { LEGACY_EOS } else { config.eos_token_id };
        Ok(format!("{:?}", ClipConfig { eos_token_id, unread: Vec::new(), ..config }))
    }

    /// Newer transformers leave out the prefix, and position numbers are counted, not read. An encoder without a
    /// projection has none, whatever its file holds.
    fn role<'a>(part: &Part, name: &'a str) -> Option<&'a str> {
        let role = name.strip_prefix("text_model.").unwrap_or(name);
        let spare =
            role.ends_with("position_ids") || (part.class == "CLIPTextModel" && role.starts_with("text_projection."));
        (!spare).then_some(role)
    }

    /// Old files carry the position numbers, and some a projection that their class does not use.
    fn is_known_spare(name: &str) -> bool {
        name.ends_with("position_ids") || name.starts_with("text_projection.")
    }
}

#[derive(Debug)]
struct Layer {
    norm1: LayerNorm,
    query: Linear,
    key: Linear,
    value: Linear,
    out: Linear,
    norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    heads: i64,
    activation: Activation,
}

impl Layer {
    fn open(scope: &Scope<'_>, config: &ClipConfig) -> Result<Self> {
        let (width, inner) = (config.hidden_size, config.intermediate_size);
        let attention = scope.at("self_attn");
        let mlp = scope.at("mlp");
        Ok(Self {
            norm1: LayerNorm::open(&scope.at("layer_norm1"), width, config.norm_eps)?,
            query: Linear::open(&attention.at("q_proj"), width, width)?,
            key: Linear::open(&attention.at("k_proj"), width, width)?,
            value: Linear::open(&attention.at("v_proj"), width, width)?,
            out: Linear::open(&attention.at("out_proj"), width, width)?,
            norm2: LayerNorm::open(&scope.at("layer_norm2"), width, config.norm_eps)?,
            fc1: Linear::open(&mlp.at("fc1"), width, inner)?,
            fc2: Linear::open(&mlp.at("fc2"), inner, width)?,
            heads: config.heads,
            activation: config.activation,
        })
    }

    fn forward(&self, hidden: &Tensor) -> Result<Tensor> {
        let normed = self.norm1.forward(hidden)?;
        let [query, key, value] = [&self.query, &self.key, &self.value]
            .map(|projection| projection.forward(&normed).and_then(|x| split_heads(&x, self.heads)));
        let attended = merge_heads(&attend(&query?, &key?, &value?, Mask::Causal)?)?;
        let hidden = self.out.forward(&attended)?.f_add_(hidden)?;
        let normed = self.norm2.forward(&hidden)?;
        let inner = self.activation.apply(self.fc1.forward(&normed)?)?;
        Ok(self.fc2.forward(&inner)?.f_add_(&hidden)?)
    }
}
