//! Where latents begin, and how those of several requests are laid one after the other.

use tch::Tensor;

use crate::Result;
use crate::pipelines::denoise::Kept;

/// What goes into a network after the latents, `(1 or n, …, h, w)` each: the mask, and the latents of the masked picture.
pub type Beside = [Tensor; 2];

/// Where the latents of some pictures begin.
pub struct Start {
    /// As noisy as the first step expects: `(n, channels, h, w)`.
    pub latents: Tensor,
    /// What is put back after every step.
    pub kept: Option<Kept>,
    /// What goes into the network beside them.
    pub beside: Option<Beside>,
}

impl Start {
    /// The starts of several requests of one kind, one after the other.
    pub fn joined(mut starts: Vec<Self>) -> Result<Self> {
        if starts.len() == 1
            && let Some(start) = starts.pop()
        {
            // As it lies: in another order its numbers would take other kernels.
            return Ok(start);
        }
        let rows = |tensors: Vec<Tensor>| Tensor::f_cat(&tensors, 0);
        let latents: Vec<Tensor> = starts.iter().map(|start| start.latents.shallow_clone()).collect();
        let (mut clean, mut noise, mut masks) = (Vec::new(), Vec::new(), Vec::new());
        let (mut beside, mut masked) = (Vec::new(), Vec::new());
        for Self { latents, kept, beside: other } in starts {
            if let Some(kept) = kept {
                masks.push(kept.mask.f_repeat([latents.size4()?.0, 1, 1, 1])?);
                clean.push(kept.clean);
                noise.push(kept.noise);
            }
            if let Some([mask, picture]) = other {
                beside.push(mask);
                masked.push(picture);
            }
        }
        let kept = if clean.is_empty() {
            None
        } else {
            Some(Kept { clean: rows(clean)?, noise: rows(noise)?, mask: rows(masks)? })
        };
        let beside = if beside.is_empty() { None } else { Some([rows(beside)?, rows(masked)?]) };
        Ok(Self { latents: rows(latents)?, kept, beside })
    }
}
