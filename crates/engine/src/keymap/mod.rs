//! Which tensor of diffusers each tensor of a file is: SGM, CompVis, OpenCLIP, BFL and diffusers' own names. Pure: names
//! and shapes in, a plan out. It opens no file and computes nothing. How deep a network is follows from its names, so a
//! network of any depth is mapped.
//!
//! The rules are those of `single_file_utils.py` of diffusers, walked from the structure instead of listed.

mod bfl;
mod clip;
mod diffusers;
mod form;
mod openclip;
mod sections;
mod sgm_unet;
mod sgm_vae;
mod spare;
#[cfg(test)]
mod tests;
mod walk;

use std::collections::BTreeMap;

pub use diffusers::vae_of_today;
pub use form::Form;
pub use openclip::without_last_layer;
pub use sections::{Naming, Network, Section, sections};
pub use spare::is_known_spare;

/// Tensors by name, with their shapes, outermost first.
pub type Shapes = BTreeMap<String, Vec<u64>>;

/// A tensor of diffusers and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapped {
    /// Its name in diffusers.
    pub name: String,
    /// What it is called where it is written.
    pub source: String,
    /// What of that it is.
    pub form: Form,
}

impl Mapped {
    fn new(name: impl Into<String>, source: impl Into<String>, form: Form) -> Self {
        Self { name: name.into(), source: source.into(), form }
    }

    fn whole(name: impl Into<String>, source: impl Into<String>) -> Self {
        Self::new(name, source, Form::Whole)
    }
}

/// The tensors of a section of a file that is called `names` as a whole. What has no place in the network is left out.
pub fn map(section: &Section, names: &Shapes) -> Vec<Mapped> {
    let inside: Shapes = names
        .range(section.prefix.clone()..)
        .map_while(|(name, shape)| Some((name.strip_prefix(section.prefix.as_str())?.to_owned(), shape.clone())))
        .collect();
    let mapped = match section.naming {
        Naming::SgmUNet => sgm_unet::map(&inside),
        Naming::DiffusersUNet => diffusers::map(&inside, &diffusers::UNET),
        Naming::Bfl => bfl::map(&inside),
        Naming::DiffusersFlux => diffusers::map(&inside, &diffusers::FLUX),
        Naming::SgmVae => sgm_vae::map(&inside),
        Naming::DiffusersVae => diffusers::map_vae(&inside),
        Naming::Clip => clip::map(&inside),
        Naming::OpenClip => openclip::map(&inside),
        Naming::T5 => diffusers::map(&inside, &diffusers::T5),
    };
    let prefix = &section.prefix;
    mapped.into_iter().map(|mapped| Mapped { source: format!("{prefix}{}", mapped.source), ..mapped }).collect()
}

/// The shapes that a plan gives, by their names in diffusers.
pub fn shapes(plan: &[Mapped], names: &Shapes) -> Shapes {
    plan.iter()
        .filter_map(|mapped| Some((mapped.name.clone(), mapped.form.shape_of(names.get(&mapped.source)?))))
        .collect()
}
