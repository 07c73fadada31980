//! Which jobs can run together: those that differ in nothing but texts, seeds and the pictures they begin from.

use super::job::Task;
use easel_engine_protocol::GenerateJob;

/// Whether both can be computed as one batch. A job that is written down step by step runs alone.
pub(super) fn can_run_together(a: &Task, b: &Task) -> bool {
    a.options.dump.is_none() && b.options.dump.is_none() && differ_in_what_they_show(&a.request, &b.request)
}

fn differ_in_what_they_show(a: &GenerateJob, b: &GenerateJob) -> bool {
    // An absent negative prompt is another way of computing than an empty one, and so is a picture to begin from.
    let shape = |job: &GenerateJob| (job.negative_prompt.is_some(), job.image.is_some(), job.mask.is_some());
    let rest = |job: &GenerateJob| GenerateJob {
        prompt: String::new(),
        negative_prompt: None,
        seeds: Vec::new(),
        image: None,
        mask: None,
        ..job.clone()
    };
    shape(a) == shape(b) && rest(a) == rest(b)
}

#[cfg(test)]
mod tests {
    use easel_engine_protocol::{GenerateJob, ModelSource, Options, PipelineKind};

    use super::differ_in_what_they_show;

    #[test]
    fn texts_and_seeds_may_differ_and_nothing_else() {
        let job = || GenerateJob::new(ModelSource::whole("/model", PipelineKind::Sdxl), "a cat");
        let other = GenerateJob { prompt: "a dog".to_owned(), seeds: vec![1, 2], ..job() };
        assert!(differ_in_what_they_show(&job(), &other));
        for other in [
            GenerateJob { steps: 7, ..job() },
            GenerateJob { width: 8, ..job() },
            GenerateJob { guidance_scale: 3.0, ..job() },
            GenerateJob { scheduler: Some(serde_json::Map::new()), ..job() },
            GenerateJob { negative_prompt: Some(String::new()), ..job() },
            GenerateJob { options: Options { clip_skip: Some(1), ..Options::default() }, ..job() },
            GenerateJob { model: ModelSource::whole("/other", PipelineKind::Sdxl), ..job() },
            GenerateJob { model: ModelSource::whole("/model", PipelineKind::Flux), ..job() },
        ] {
            assert!(!differ_in_what_they_show(&job(), &other), "{other:?}");
        }
    }
}
