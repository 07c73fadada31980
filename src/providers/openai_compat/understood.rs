//! Which wishes a model understands and where they go: what its section declares, over what its family and its dialect
//! are known for.

use super::dialect::{Name, Place, Places, Route};
use super::model_config::{ModelConfig, SizeAs};
use super::rules::Rules;
use crate::generation::{Support, Supports};
use crate::providers::declared::support;

impl ModelConfig {
    /// The dialect's places, with the names that are declared here, and a name of our own for what is declared to be
    /// understood although the dialect does not know it.
    pub(super) fn places(&self, usual: &Places) -> Places {
        let fields = &self.fields;
        let place = |name: &Option<Name>, usual: &Place, declared: Option<bool>, own: &'static str| match (name, usual)
        {
            (Some(name), _) => Place::Field(name.clone()),
            (None, Place::Nowhere) if declared == Some(true) => Place::Field(Name::Borrowed(own)),
            (None, usual) => usual.clone(),
        };
        Places {
            seed: place(&fields.seed, &usual.seed, self.supports_seed, "seed"),
            negative_prompt: place(
                &fields.negative_prompt,
                &usual.negative_prompt,
                self.supports_negative_prompt,
                "negative_prompt",
            ),
            steps: place(&fields.steps, &usual.steps, self.supports_steps, "steps"),
            guidance_scale: place(
                &fields.guidance_scale,
                &usual.guidance_scale,
                self.supports_guidance_scale,
                "guidance_scale",
            ),
            scheduler: place(&fields.scheduler, &usual.scheduler, self.supports_scheduler, "scheduler"),
            strength: place(&fields.strength, &usual.strength, self.supports_strength, "strength"),
            loras: place(&None, &usual.loras, self.supports_loras, "loras"),
        }
    }

    /// What the model understands: as declared, else as its family or the dialect have it.
    pub(super) fn supports(
        &self,
        places: &Places,
        edits: &Route,
        inpainting: &Route,
        rules: Option<&Rules>,
        size_as: SizeAs,
    ) -> Supports {
        let sent = |possible: bool| if possible { Support::Undeclared } else { Support::No };
        let wish = |place: &Place| sent(place.is_somewhere());
        let usual = Supports {
            size: sent(size_as != SizeAs::AspectRatio),
            seed: wish(&places.seed),
            negative_prompt: wish(&places.negative_prompt),
            steps: wish(&places.steps),
            guidance_scale: wish(&places.guidance_scale),
            scheduler: wish(&places.scheduler),
            image: Support::Undeclared,
            mask: sent(inpainting.mask.is_some()),
            strength: wish(&places.strength),
            reference_images: sent(edits.takes_several()),
            loras: wish(&places.loras),
        };
        let known = |yes: bool| if yes { Support::Yes } else { Support::No };
        // The vendor refuses every field that it does not know.
        let usual = rules.map_or(usual, |rules| Supports {
            size: Support::Yes,
            image: known(rules.max_pictures > 0),
            mask: known(rules.max_pictures > 0),
            reference_images: known(rules.max_pictures > 1),
            ..Supports::all(Support::No)
        });
        self.declared_supports(usual)
    }

    /// What is declared, and `usual` where nothing is.
    pub(super) fn declared_supports(&self, usual: Supports) -> Supports {
        Supports {
            size: support(self.supports_size, usual.size),
            seed: support(self.supports_seed, usual.seed),
            negative_prompt: support(self.supports_negative_prompt, usual.negative_prompt),
            steps: support(self.supports_steps, usual.steps),
            guidance_scale: support(self.supports_guidance_scale, usual.guidance_scale),
            scheduler: support(self.supports_scheduler, usual.scheduler),
            image: support(self.supports_image, usual.image),
            mask: support(self.supports_mask, usual.mask),
            strength: support(self.supports_strength, usual.strength),
            reference_images: support(self.supports_reference_images, usual.reference_images),
            loras: support(self.supports_loras, usual.loras),
        }
    }
}
