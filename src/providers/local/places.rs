//! Where the files of a job lie, and what they are called to callers: no sentence of the engine leaves with a path.

use std::path::{Path, PathBuf};

use easel_engine_protocol::GenerateJob;

/// Paths of this machine, and what stands for them.
#[derive(Debug, Clone)]
pub(super) struct Places(Vec<(PathBuf, String)>);

impl Places {
    /// Those of a job; `loras` are the names of its adapters as the caller wrote them, in order.
    pub fn of<'a>(job: &GenerateJob, loras: impl Iterator<Item = &'a str>) -> Self {
        let mut places: Vec<(PathBuf, String)> = Vec::new();
        places
            .extend(job.loras.iter().zip(loras).map(|(lora, name)| (lora.path.clone(), format!("the adapter {name}"))));
        places.extend(job.model.parts.iter().map(|(name, path)| (path.clone(), format!("the model's {name}"))));
        places.extend(job.model.base.iter().map(|base| (base.clone(), "the model's base".to_owned())));
        places.push((job.model.path.clone(), "the model".to_owned()));
        // What lies inside another's folder is told first.
        places.sort_by_key(|(path, _)| std::cmp::Reverse(path.as_os_str().len()));
        Self(places)
    }

    /// The text with names in place of paths.
    pub fn hide(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (path, name)| without_path(&text, Path::new(path), name))
    }
}

/// `text` with a place on this machine replaced by what it is called.
pub(super) fn without_path(text: &str, path: &Path, name: &str) -> String {
    path.to_str().map_or_else(|| text.to_owned(), |path| text.replace(path, name))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use easel_engine_protocol::{GenerateJob, Lora, ModelSource, PipelineKind};

    use super::Places;

    #[test]
    fn every_path_of_a_job_has_a_name() {
        let model = ModelSource {
            path: "/models/a".into(),
            pipeline: PipelineKind::Sdxl,
            base: Some("/models/a/base".into()),
            parts: BTreeMap::from([("vae".to_owned(), "/models/vae.safetensors".into())]),
        };
        let lora = Lora { path: "/models/loras/x.pt".into(), weight: 1.0, text_encoder_weight: None };
        let job = GenerateJob { loras: vec![lora], ..GenerateJob::new(model, "x") };
        let places = Places::of(&job, ["ink"].into_iter());
        let told = "/models/a/unet, /models/a/base/unet, /models/vae.safetensors and /models/loras/x.pt";
        let hidden = "the model/unet, the model's base/unet, the model's vae and the adapter ink";
        assert_eq!(places.hide(told), hidden);
    }
}
