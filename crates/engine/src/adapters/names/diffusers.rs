//! Names of attention in diffusers before PEFT, when its projections belonged to a processor: `attn1.processor.to_q`,
//! and `to_out` for `to_out.0`.

use super::Alias;

/// Projections of an attention.
const PROJECTIONS: [&str; 8] =
    ["to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"];

/// Further names of the attentions among these.
pub fn aliases(known: &[Alias]) -> Vec<Alias> {
    let mut aliases = Vec::new();
    for (name, place) in known {
        let Some((before, projection)) = PROJECTIONS.iter().find_map(|projection| {
            let before = name.strip_suffix(projection)?;
            before.ends_with('.').then_some((before, *projection))
        }) else {
            continue;
        };
        let short = projection.trim_end_matches(".0");
        aliases.push((format!("{before}processor.{projection}"), place.clone()));
        if short != projection {
            aliases.push((format!("{before}{short}"), place.clone()));
            aliases.push((format!("{before}processor.{short}"), place.clone()));
        }
    }
    aliases
}
