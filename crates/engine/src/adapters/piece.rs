//! What one tensor of an adapter file is, told by the end of its name. Everything before that end is the layer.

/// What a tensor is for the layer it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Piece {
    /// LoRA's first factor, rank rows (`lora_down`, `lora_A`).
    Down,
    /// LoRA's second factor, rank columns (`lora_up`, `lora_B`).
    Up,
    /// The core of a Tucker decomposition between the two (`LoCon`).
    Mid,
    /// What the rank is divided into to scale the change.
    Alpha,
    /// The lengths of `DoRA`'s rows, as PEFT has them.
    Magnitude,
    /// The lengths of `DoRA`'s rows or columns, as `LyCORIS` has them.
    DoraScale,
    /// `LoHa`: factors of the first (0, 1) and second (2, 3) product.
    Hadamard(u8),
    /// `LoHa`: the cores of the two products.
    HadamardCore(u8),
    /// `LoKr`: the whole left (0) or right (1) matrix.
    Kronecker(u8),
    /// `LoKr`: factors of the left (0, 1) and right (2, 3) matrix.
    KroneckerFactor(u8),
    /// `LoKr`: the core of the right matrix.
    KroneckerCore,
    /// The change itself.
    Difference,
    /// The change of the bias itself.
    BiasDifference,
    /// The change of the bias, scaled like the factors (`lora_B.bias`).
    UpBias,
    /// A kind of adapter that is not supported, by its name.
    Other(&'static str),
}

/// Ends of names, longest first where one ends in another. Trainers: sd-scripts, `LyCORIS`, PEFT, and diffusers before PEFT.
const ENDINGS: &[(&str, Piece)] = &[
    (".lora_down.weight", Piece::Down),
    (".lora_up.weight", Piece::Up),
    (".lora_mid.weight", Piece::Mid),
    (".lora_A.weight", Piece::Down),
    (".lora_B.weight", Piece::Up),
    (".lora_B.bias", Piece::UpBias),
    (".lora_linear_layer.down.weight", Piece::Down),
    (".lora_linear_layer.up.weight", Piece::Up),
    (".lora.down.weight", Piece::Down),
    (".lora.up.weight", Piece::Up),
    ("_lora.down.weight", Piece::Down),
    ("_lora.up.weight", Piece::Up),
    (".down.weight", Piece::Down),
    (".up.weight", Piece::Up),
    (".lora_magnitude_vector.weight", Piece::Magnitude),
    (".lora_magnitude_vector", Piece::Magnitude),
    (".dora_scale", Piece::DoraScale),
    (".lora_linear_layer.alpha", Piece::Alpha),
    (".lora.alpha", Piece::Alpha),
    ("_lora.alpha", Piece::Alpha),
    (".alpha", Piece::Alpha),
    (".hada_w1_a", Piece::Hadamard(0)),
    (".hada_w1_b", Piece::Hadamard(1)),
    (".hada_w2_a", Piece::Hadamard(2)),
    (".hada_w2_b", Piece::Hadamard(3)),
    (".hada_t1", Piece::HadamardCore(0)),
    (".hada_t2", Piece::HadamardCore(1)),
    (".lokr_w1", Piece::Kronecker(0)),
    (".lokr_w2", Piece::Kronecker(1)),
    (".lokr_w1_a", Piece::KroneckerFactor(0)),
    (".lokr_w1_b", Piece::KroneckerFactor(1)),
    (".lokr_w2_a", Piece::KroneckerFactor(2)),
    (".lokr_w2_b", Piece::KroneckerFactor(3)),
    (".lokr_t2", Piece::KroneckerCore),
    (".diff", Piece::Difference),
    (".diff_b", Piece::BiasDifference),
    (".w_norm", Piece::Difference),
    (".b_norm", Piece::BiasDifference),
    (".oft_blocks", Piece::Other("OFT")),
    (".oft_diag", Piece::Other("OFT")),
    (".oft_R.weight", Piece::Other("OFT")),
    (".oft_R", Piece::Other("OFT")),
    (".boft_R", Piece::Other("BOFT")),
    (".a1.weight", Piece::Other("GLoRA")),
    (".a2.weight", Piece::Other("GLoRA")),
    (".b1.weight", Piece::Other("GLoRA")),
    (".b2.weight", Piece::Other("GLoRA")),
    (".on_input", Piece::Other("IA3")),
    (".ia3_l", Piece::Other("IA3")),
    (".lora_embedding_A", Piece::Other("LoRA of an embedding")),
    (".lora_embedding_B", Piece::Other("LoRA of an embedding")),
    (".set_weight", Piece::Other("replaced weight")),
    (".reshape_weight", Piece::Other("reshaped weight")),
    (".lokr_t1", Piece::Other("LoKr with a core of its left matrix")),
];

/// The layer that a tensor belongs to, and what it is for it. `None` for a name that no kind of adapter has.
pub fn split(name: &str) -> Option<(String, Piece)> {
    let name = without_adapter_name(name);
    ENDINGS.iter().find_map(|(ending, piece)| Some((name.strip_suffix(ending)?.to_owned(), *piece)))
}

/// PEFT may put the name of the adapter inside: `to_q.lora_A.default.weight`.
fn without_adapter_name(name: &str) -> String {
    for marker in [".lora_A.", ".lora_B.", ".lora_magnitude_vector."] {
        let Some((layer, rest)) = name.split_once(marker) else { continue };
        if let Some((_, end @ ("weight" | "bias"))) = rest.split_once('.') {
            return format!("{layer}{marker}{end}");
        }
        if marker == ".lora_magnitude_vector." && !matches!(rest, "weight") {
            return format!("{layer}{marker}weight");
        }
    }
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::{Piece, split};

    #[test]
    fn every_spelling_has_its_layer() {
        let cases = [
            ("lora_unet_mid_block_proj_in.lora_down.weight", "lora_unet_mid_block_proj_in", Piece::Down),
            ("unet.a.attn1.to_q.lora_A.weight", "unet.a.attn1.to_q", Piece::Down),
            ("unet.a.attn1.to_q.lora_B.default.weight", "unet.a.attn1.to_q", Piece::Up),
            ("x.to_q.lora_B.my-style.bias", "x.to_q", Piece::UpBias),
            ("a.attn1.processor.to_out_lora.up.weight", "a.attn1.processor.to_out", Piece::Up),
            ("a.mlp.fc1.lora_linear_layer.down.weight", "a.mlp.fc1", Piece::Down),
            ("double_blocks.0.processor.qkv_lora1.up.weight", "double_blocks.0.processor.qkv_lora1", Piece::Up),
            ("a.to_q.lora.alpha", "a.to_q", Piece::Alpha),
            ("a.lora_magnitude_vector.default", "a", Piece::Magnitude),
            ("a.lora_magnitude_vector.default.weight", "a", Piece::Magnitude),
            ("a.lora_magnitude_vector", "a", Piece::Magnitude),
            ("a.dora_scale", "a", Piece::DoraScale),
            ("a.lokr_w1", "a", Piece::Kronecker(0)),
            ("a.lokr_w2_b", "a", Piece::KroneckerFactor(3)),
            ("a.diff_b", "a", Piece::BiasDifference),
            ("a.oft_blocks", "a", Piece::Other("OFT")),
        ];
        for (name, layer, piece) in cases {
            assert_eq!(split(name), Some((layer.to_owned(), piece)), "{name}");
        }
        assert_eq!(split("model.diffusion_model.out.2.weight"), None);
    }
}
