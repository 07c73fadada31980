//! The worker with models that only count: order, cancelling, panics, memory, what stays open.

mod bench;

use std::sync::atomic::Ordering;
use std::thread;
use std::time::Instant;

use easel_engine_protocol::Dtype;

use super::*;
use bench::{Bench, LIMIT, failure, images, is_done, to_end};

#[test]
fn events_come_in_order_and_end_with_one_last() {
    let bench = Bench::new();
    let events = bench.run(GenerateJob { seeds: vec![7, 9], ..bench.job("") });
    let names: Vec<String> = events
        .iter()
        .map(|event| match event {
            Event::Queued { ahead } => format!("queued {ahead}"),
            Event::Loading => "loading".to_owned(),
            Event::Warning { message } => message.clone(),
            Event::Adapters { adapters } => format!("adapters {}", adapters.len()),
            Event::Step { image, step, steps } => format!("{image} {step}/{steps}"),
            Event::Image { image, seed, .. } => format!("image {image} of {seed}"),
            Event::Done { .. } => "done".to_owned(),
            Event::Preview { image, step, .. } => format!("preview {image} {step}"),
            Event::Failed { error } => format!("failed {error}"),
        })
        .collect();
    let expected = [
        "queued 0",
        "loading",
        "0 1/3",
        "0 2/3",
        "0 3/3",
        "image 0 of 7",
        "1 1/3",
        "1 2/3",
        "1 3/3",
        "image 1 of 9",
        "done",
    ];
    assert_eq!(names, expected);
}

#[test]
fn a_dropped_job_is_cancelled_within_a_step_and_the_next_one_runs() {
    let bench = Bench::new();
    let job = bench.slow();
    let dropped = Instant::now();
    drop(job);
    bench.wait_until_idle();
    assert!(dropped.elapsed() < Duration::from_secs(5), "a step takes 20 ms, cancelling took {:?}", dropped.elapsed());
    assert!(is_done(&bench.run(bench.job(""))));
}

#[test]
fn a_job_that_is_dropped_while_it_waits_never_runs() {
    let bench = Bench::new();
    let first = bench.slow();
    let mut second = bench.submit(bench.job(""));
    assert_eq!(second.blocking_next(), Some(Event::Queued { ahead: 1 }));
    assert_eq!(bench.worker.queued(), 1);
    drop(second);
    assert_eq!(bench.worker.queued(), 0);
    drop(first);
    bench.wait_until_idle();
    assert_eq!(bench.generated.load(Ordering::SeqCst), 1);
}

#[test]
fn the_queue_has_a_bound_that_dropped_jobs_do_not_fill() {
    let bench = Bench::new();
    let running = bench.slow();
    let mut waiting: Vec<Job> = (0..64).map(|_| bench.submit(bench.job(""))).collect();
    let refused = bench.worker.submit(bench.job(""), JobOptions::default()).unwrap_err();
    assert_eq!(refused.kind(), EngineErrorKind::Overloaded);
    waiting.pop();
    waiting.push(bench.submit(bench.job("")));
    drop(running);
    assert!(waiting.into_iter().all(|job| is_done(&to_end(job))));
}

#[test]
fn a_panic_ends_the_job_and_not_the_worker() {
    let bench = Bench::new();
    let events = bench.run(bench.job("panic"));
    assert_eq!(failure(&events), EngineErrorKind::Internal);
    assert!(format!("{events:?}").contains("as asked"));
    assert!(bench.worker.models().is_empty(), "what a panic left is not used again");
    assert!(is_done(&bench.run(bench.job(""))));
    assert_eq!(bench.opened(), 2);
}

#[test]
fn out_of_memory_in_the_middle_is_told_and_tried_once_more() {
    let bench = Bench::new();
    let events = bench.run(GenerateJob { seeds: vec![1, 2], ..bench.job("memory once") });
    assert!(is_done(&events), "{events:?}");
    assert!(
        events.iter().any(|event| matches!(event, Event::Warning { message } if message.contains("out of memory")))
    );
    assert_eq!(images(&events), [0, 1], "a picture that was sent is not sent again");
    assert_eq!((bench.opened(), bench.generated.load(Ordering::SeqCst)), (1, 2));

    let events = bench.run(bench.job("memory"));
    assert_eq!(failure(&events), EngineErrorKind::OutOfMemory);
    assert_eq!(bench.generated.load(Ordering::SeqCst), 4, "twice and no more");
    assert!(is_done(&bench.run(bench.job(""))));
}

#[test]
fn models_stay_open_and_the_last_one_comes_first() {
    let bench = Bench::new();
    let paths = || bench.worker.models().into_iter().map(|model| model.path).collect::<Vec<_>>();
    let (one, two) = (bench.models.path().join("one"), bench.models.path().join("two"));
    assert!(is_done(&bench.run(bench.job(""))));
    let again = bench.run(bench.job(""));
    assert!(!again.contains(&Event::Loading));
    assert_eq!(bench.opened(), 1);
    assert_eq!(failure(&bench.run(bench.with_model("broken"))), EngineErrorKind::ModelBroken);
    assert_eq!(paths(), std::slice::from_ref(&one), "a model that does not open pushes no other out");
    assert!(is_done(&bench.run(bench.with_model("two"))));
    assert_eq!(paths(), [two.clone(), one.clone()]);
    assert!(!bench.run(bench.with_model("one")).contains(&Event::Loading), "going back costs nothing");
    let other_dtype = GenerateJob { dtype: Some(Dtype::Bf16), ..bench.with_model("two") };
    assert!(bench.run(other_dtype).contains(&Event::Loading));
    assert_eq!(bench.worker.models()[0].dtype, Dtype::Bf16);
    assert_eq!(paths(), [two.clone(), one, two]);
}

#[test]
fn only_so_many_models_are_open() {
    let bench = Bench::new();
    for name in 0..12 {
        std::fs::create_dir(bench.models.path().join(format!("model {name}"))).unwrap();
        assert!(is_done(&bench.run(bench.with_model(&format!("model {name}")))));
    }
    let open = bench.worker.models();
    assert_eq!(open.len(), 8);
    assert!(open[0].path.ends_with("model 11") && open[7].path.ends_with("model 4"));
}

#[test]
fn models_are_closed_on_demand_when_no_job_runs() {
    let bench = Bench::new();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let unload = |path: Option<&str>| {
        let path = path.map(|name| bench.models.path().join(name));
        runtime.block_on(bench.worker.unload(path))
    };
    assert_eq!(unload(None), 0);
    bench.run(bench.with_model("one"));
    bench.run(bench.with_model("two"));
    assert_eq!(unload(Some("nowhere")), 0);
    assert_eq!(unload(Some("one")), 1);
    assert_eq!(bench.worker.models().len(), 1);
    let mut running = bench.submit(GenerateJob { steps: 5, ..bench.job("slow") });
    while !matches!(running.blocking_next().unwrap(), Event::Step { .. }) {}
    assert_eq!(unload(None), 2, "the job ran to its end first");
    assert!(is_done(&to_end(running)));
    assert!(bench.worker.models().is_empty());
    assert!(bench.run(bench.with_model("two")).contains(&Event::Loading));
}

/// What jobs are told but for the time that it took.
fn told(events: &[Event]) -> Vec<String> {
    let told = events.iter().filter(|event| !matches!(event, Event::Queued { .. } | Event::Loading));
    told.map(|event| if is_done(std::slice::from_ref(event)) { "done".to_owned() } else { format!("{event:?}") })
        .collect()
}

#[test]
fn jobs_that_wait_for_the_same_run_together_and_are_told_what_they_would_be_told_alone() {
    let bench = Bench::with_batches(4);
    let alone: Vec<_> = (0..4).map(|seed| bench.run(GenerateJob { seeds: vec![seed], ..bench.job("") })).collect();
    assert_eq!(bench.together.lock().unwrap().drain(..).collect::<Vec<_>>(), [1, 1, 1, 1]);
    let first = bench.slow();
    let same = |seed| bench.submit(GenerateJob { seeds: vec![seed], ..bench.job("") });
    let jobs = [same(0), same(1)];
    let other = bench.submit(GenerateJob { steps: 4, ..bench.job("") });
    let more = [same(2), same(3)];
    let fifth = same(4);
    drop(first);
    for (job, alone) in jobs.into_iter().chain(more).zip(&alone) {
        assert_eq!(told(&to_end(job)), told(alone));
    }
    assert!(is_done(&to_end(other)) && is_done(&to_end(fifth)));
    assert_eq!(*bench.together.lock().unwrap(), [1, 4, 1, 1]);
}

#[test]
fn one_of_a_batch_stops_no_other() {
    let bench = Bench::with_batches(8);
    let first = bench.slow();
    let same = |prompt, seed| {
        bench.submit(GenerateJob { seeds: vec![seed], guidance_scale: 1.0, steps: 20, ..bench.job(prompt) })
    };
    let (left, memory, stays, fails) = (same("slow", 1), same("memory always", 2), same("slow", 3), same("fails", 4));
    drop(first);
    let mut stays = stays;
    while !matches!(stays.blocking_next().unwrap(), Event::Step { .. }) {}
    drop(left);
    assert!(is_done(&to_end(stays)));
    assert_eq!(failure(&to_end(memory)), EngineErrorKind::OutOfMemory);
    assert_eq!(failure(&to_end(fails)), EngineErrorKind::Internal);
    assert_eq!(bench.together.lock().unwrap().get(1), Some(&4));
}

#[test]
fn the_status_tells_of_memory_before_any_job() {
    let bench = Bench::new();
    let begun = Instant::now();
    while bench.worker.status()[0].memory.budget.is_none() && cfg!(target_os = "linux") {
        assert!(begun.elapsed() < LIMIT, "the device says nothing");
        thread::yield_now();
    }
    assert_eq!(bench.worker.status()[0].memory.used, 0);
}

#[test]
fn a_model_whose_files_changed_is_opened_again() {
    let bench = Bench::new();
    bench.run(bench.job(""));
    let unet = bench.models.path().join("one/unet");
    std::fs::create_dir(&unet).unwrap();
    std::fs::write(unet.join("weights"), "new").unwrap();
    assert!(bench.run(bench.job("")).contains(&Event::Loading));
    assert!(!bench.run(bench.job("")).contains(&Event::Loading));
}

#[test]
fn closing_fails_who_waits_and_cancels_who_runs_after_the_grace() {
    let bench = Bench::new();
    let running = bench.slow();
    let waiting = bench.submit(bench.job(""));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let begun = Instant::now();
    assert!(runtime.block_on(bench.worker.close(Duration::from_millis(200))));
    assert!(begun.elapsed() >= Duration::from_millis(200) && begun.elapsed() < LIMIT);
    assert_eq!(failure(&to_end(waiting)), EngineErrorKind::Cancelled);
    assert_eq!(failure(&to_end(running)), EngineErrorKind::Cancelled);
    let refused = bench.worker.submit(bench.job(""), JobOptions::default()).unwrap_err();
    assert_eq!(refused.kind(), EngineErrorKind::Overloaded);
}

#[test]
fn closing_lets_a_short_job_end() {
    let bench = Bench::new();
    let job = bench.submit(GenerateJob { steps: 10, ..bench.job("slow") });
    while bench.worker.running() == 0 {
        thread::yield_now();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    assert!(runtime.block_on(bench.worker.close(LIMIT)));
    assert!(is_done(&to_end(job)));
}

#[test]
fn what_cannot_be_is_refused_by_the_name_of_its_field() {
    let bench = Bench::new();
    let job = || bench.job("");
    let cases = [
        ("steps", GenerateJob { steps: 0, ..job() }),
        ("steps", GenerateJob { steps: 1001, ..job() }),
        ("width", GenerateJob { width: 0, ..job() }),
        ("width", GenerateJob { width: 12, ..job() }),
        ("height", GenerateJob { height: 4104, ..job() }),
        ("height", GenerateJob { height: u32::MAX, ..job() }),
        ("guidance_scale", GenerateJob { guidance_scale: -0.1, ..job() }),
        ("guidance_scale", GenerateJob { guidance_scale: f64::NAN, ..job() }),
        ("guidance_scale", GenerateJob { guidance_scale: f64::INFINITY, ..job() }),
        ("seeds", GenerateJob { seeds: vec![], ..job() }),
        ("seeds", GenerateJob { seeds: vec![0; 65], ..job() }),
        ("pixels", GenerateJob { seeds: vec![0; 5], width: 4096, height: 4096, ..job() }),
        ("prompt", GenerateJob { prompt: "x".repeat(MAX_PROMPT_BYTES + 1), ..job() }),
        ("negative_prompt", GenerateJob { negative_prompt: Some("x".repeat(MAX_PROMPT_BYTES + 1)), ..job() }),
        ("device", GenerateJob { device: Some("tpu".to_owned()), ..job() }),
    ];
    for (field, request) in cases {
        let error = bench.worker.submit(request, JobOptions::default()).unwrap_err();
        assert_eq!(error.kind(), EngineErrorKind::InvalidRequest);
        assert!(error.to_string().contains(field), "`{field}` is not named: {error}");
    }
    let absent = GenerateJob { device: Some("cuda:200".to_owned()), ..job() };
    let error = bench.worker.submit(absent, JobOptions::default()).unwrap_err();
    assert_eq!(error.kind(), EngineErrorKind::DeviceUnavailable);
    assert_eq!(bench.generated.load(Ordering::SeqCst), 0);
}
