//! What the local engine does beside drawing from a text, through the front door: every family, given pictures, masks,
//! adapters, previews, many requests at once, and pictures that do not fit into memory. The models are tiny and untrained.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::easel::{Answer, Easel, client};
use crate::local_models::{engine, not_run};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/crates/engine/tests/fixtures");

/// The models by their keys: which pipeline drives them, and where they lie.
const MODELS: [(&str, &str, &str); 6] = [
    ("sd", "sd", "pipelines/sd/model"),
    ("sd_inpaint", "sd", "pipelines/sd-inpaint/model"),
    ("sdxl", "sdxl", "pipelines/base/model"),
    ("sdxl_whole", "sdxl", "pipelines/sdxl-edits/model"),
    ("dev", "flux", "flux/dev/model"),
    ("schnell", "flux", "flux/schnell/model"),
];

/// A gateway with nothing but these models, and the adapters for them.
struct House {
    easel: Easel,
    library: TempDir,
}

impl House {
    async fn new(engine: &Path, more: &str) -> Self {
        let library = tempfile::tempdir().unwrap();
        let loras = library.path().join("loras");
        std::fs::create_dir(&loras).unwrap();
        for (name, file) in
            [("ink", "adapters/files/sdxl-kohya-sgm.safetensors"), ("flat", "adapters/files/sd-kohya.safetensors")]
        {
            link(file, &loras.join(format!("{name}.safetensors")));
        }
        let mut config = format!(
            "library.roots = [\"{}\"]\nproviders.gemini.enabled = false\nproviders.openai.enabled = false\n\
             providers.runware.enabled = false\n[providers.local]\npolicy = {{ timeout = \"60s\" }}\n\
             [providers.local.config]\nengine = \"{}\"\ndevice = \"cpu\"\nthreads = 1\n{more}\n",
            library.path().display(),
            engine.display()
        );
        for (key, pipeline, place) in MODELS {
            write!(
                config,
                "[providers.local.config.models.{key}]\npipeline = \"{pipeline}\"\nsource = \"file:{FIXTURES}/{place}\"\n\
                 steps = 3\nguidance_scale = 3.0\n"
            )
            .unwrap();
        }
        Self { easel: Easel::start(&config).await, library }
    }

    /// One picture of 64x64 with seed 7, and what else is wished for.
    async fn ask(&self, model: &str, more: &Value) -> Answer {
        let mut wish = json!({ "prompt": "a red squirrel", "model": format!("local/{model}"), "seed": 7, "size": "64x64",
                               "cache": "never" });
        for (field, value) in more.as_object().unwrap() {
            wish[field] = value.clone();
        }
        self.easel.generate(&wish).await
    }

    async fn picture(&self, model: &str, more: &Value) -> Vec<u8> {
        let answer = self.ask(model, more).await;
        assert_eq!(answer.status, 200, "{model} {more}: {}", answer.body);
        assert_eq!(answer.body["ignored"], json!([]), "{model} {more}");
        STANDARD.decode(answer.body["images"][0]["b64_json"].as_str().unwrap()).unwrap()
    }
}

fn link(fixture: &str, to: &Path) {
    std::os::unix::fs::symlink(Path::new(FIXTURES).join(fixture), to).unwrap();
}

/// The adapter `ink` with one layer more, which no model has.
fn in_part(to: &Path) {
    let file = std::fs::read(Path::new(FIXTURES).join("adapters/files/sdxl-kohya-sgm.safetensors")).unwrap();
    let (length, rest) = file.split_at(8);
    let (header, data) = rest.split_at(usize::try_from(u64::from_le_bytes(length.try_into().unwrap())).unwrap());
    let mut header: Value = serde_json::from_slice(header).unwrap();
    let factors = [("lora_down", [1, 4]), ("lora_up", [4, 1])];
    for ((factor, shape), begin) in factors.into_iter().zip((data.len()..).step_by(16)) {
        header[format!("lora_unet_attic_to_k.{factor}.weight")] =
            json!({ "dtype": "F32", "shape": shape, "data_offsets": [begin, begin + 16] });
    }
    let header = serde_json::to_vec(&header).unwrap();
    let length = (header.len() as u64).to_le_bytes();
    std::fs::write(to, [&length, &header[..], data, &[0; 32]].concat()).unwrap();
}

/// A picture in base64 as a request brings it: white where `is_white`, else black.
fn painted(is_white: impl Fn(usize, usize) -> bool) -> String {
    const SIDE: usize = 64;
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 64, 64);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().unwrap();
    let rows = (0..SIDE * SIDE).flat_map(|i| [if is_white(i % SIDE, i / SIDE) { 255_u8 } else { 0 }; 3]);
    writer.write_image_data(&rows.collect::<Vec<u8>>()).unwrap();
    writer.finish().unwrap();
    STANDARD.encode(bytes)
}

fn pixels(file: &[u8]) -> Vec<u8> {
    let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut pixels).unwrap();
    pixels
}

fn is_far(a: &[u8], b: &[u8]) -> bool {
    let difference: u64 = a.iter().zip(b).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    difference > a.len() as u64 / 100
}

#[tokio::test]
async fn every_family_does_what_its_form_says() {
    let Some(engine) = engine() else { return not_run("families of the local engine") };
    let house = House::new(&engine, "").await;
    let listed = house.easel.get("/api/image-models").await;
    let all = listed.body["providers"]["local"]["models"].as_array().unwrap();
    for model in all.iter().filter(|model| MODELS.iter().any(|(key, ..)| model["key"] == *key)) {
        assert_eq!(model["installed"], true, "{model}");
        assert_eq!((&model["capabilities"]["image"], &model["capabilities"]["loras"]), (&json!(true), &json!(true)));
    }
    let (image, left) = (painted(|x, y| (x / 8 + y / 8) % 2 == 0), painted(|x, _| x < 32));
    for model in ["sd", "sdxl_whole", "dev", "schnell"] {
        let plain = pixels(&house.picture(model, &json!({})).await);
        let from_picture = pixels(&house.picture(model, &json!({ "image": image, "strength": 0.7 })).await);
        assert!(is_far(&plain, &from_picture), "{model}: the picture made no difference");
        let masked = pixels(&house.picture(model, &json!({ "image": image, "mask": left, "strength": 0.9 })).await);
        assert!(is_far(&from_picture, &masked), "{model}: the mask made no difference");
        assert_eq!(plain, pixels(&house.picture(model, &json!({})).await), "{model}: the same seed, another picture");
    }
    // A VAE without its encoder draws, and begins from no picture.
    let refused = house.ask("sdxl", &json!({ "image": image, "strength": 0.9 })).await;
    assert!(refused.body["detail"].as_str().unwrap().contains("no encoder"), "{}", refused.body);
    // A model that was made for masks needs one.
    let refused = house.ask("sd_inpaint", &json!({})).await;
    assert_eq!((refused.status, refused.body["code"].as_str().unwrap()), (422, "invalid_request"), "{}", refused.body);
    house.picture("sd_inpaint", &json!({ "image": image, "mask": left })).await;
    // A mask without a picture is nobody's wish.
    assert_eq!(house.ask("sd", &json!({ "mask": left })).await.status, 422);
    let refused = house.ask("sd", &json!({ "image": STANDARD.encode(b"no picture") })).await;
    assert_eq!(refused.status, 422, "{}", refused.body);
}

#[tokio::test]
async fn adapters_are_named_and_those_of_another_family_are_refused() {
    let Some(engine) = engine() else { return not_run("adapters of the local engine") };
    let house = House::new(&engine, "").await;
    let with = |name: &str, weight: f64| json!({ "loras": [{ "name": name, "weight": weight }] });
    let plain = pixels(&house.picture("sdxl", &json!({})).await);
    assert!(is_far(&plain, &pixels(&house.picture("sdxl", &with("ink", 1.0)).await)));
    assert_eq!(plain, pixels(&house.picture("sdxl", &json!({})).await), "the adapter stayed");
    assert_eq!(plain, pixels(&house.picture("sdxl", &with("ink", 0.0)).await), "a weight of 0 changed something");

    let unknown = house.ask("sdxl", &with("inc", 1.0)).await;
    assert_eq!((unknown.status, unknown.body["code"].as_str().unwrap()), (422, "unsupported"), "{}", unknown.body);
    assert!(unknown.body["hint"].as_str().unwrap().contains("ink"), "{}", unknown.body);
    let foreign = house.ask("sdxl", &with("flat", 1.0)).await;
    assert_eq!(foreign.status, 422, "{}", foreign.body);
    let told = foreign.body["detail"].as_str().unwrap();
    assert!(told.contains("the adapter flat") && !told.contains("/loras/"), "a place on this machine: {told}");
}

#[tokio::test]
async fn what_an_adapter_lacks_is_told() {
    let Some(engine) = engine() else { return not_run("what adapters of the local engine lack") };
    let house = House::new(&engine, "").await;
    in_part(&house.library.path().join("loras/part.safetensors"));
    let loras = json!([{ "name": "ink" }, { "name": "part", "weight": 0.5 }]);
    let answer = house.ask("sdxl", &json!({ "loras": loras })).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let [whole, part] = answer.body["loras"].as_array().unwrap().as_slice() else { panic!("{}", answer.body) };
    assert_eq!((&whole["name"], &whole["weight"], &whole["unmatched"]), (&json!("ink"), &json!(1.0), &json!([])));
    assert!(whole["total"].as_u64().unwrap() > 0 && whole["matched"] == whole["total"], "{whole}");
    assert_eq!((&part["name"], &part["weight"]), (&json!("part"), &json!(0.5)));
    assert_eq!(part["matched"], whole["matched"]);
    assert_eq!(part["total"].as_u64(), whole["total"].as_u64().map(|total| total + 1));
    assert_eq!(part["unmatched"], json!(["lora_unet_attic_to_k"]));
    let warning = answer.body["warnings"].to_string();
    assert!(warning.contains("the adapter part: 1 of") && !warning.contains("/loras/"), "{warning}");
    assert_eq!(house.ask("sdxl", &json!({})).await.body["loras"], json!([]));
}

#[tokio::test]
async fn an_adapter_that_is_replaced_under_its_name_makes_other_pictures() {
    let Some(engine) = engine() else { return not_run("replaced adapters of the local engine") };
    let house = House::new(&engine, "").await;
    let file = house.library.path().join("loras/ink.safetensors");
    let ask = async || {
        let answer = house.ask("sdxl", &json!({ "loras": [{ "name": "ink" }], "cache": "auto" })).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        (answer.body["cache"].as_str().unwrap().to_owned(), answer.body["images"][0]["b64_json"].clone())
    };
    let first = ask().await;
    assert_eq!(first.0, "miss");
    assert_eq!(ask().await, ("hit".to_owned(), first.1.clone()));
    std::fs::remove_file(&file).unwrap();
    link("adapters/files/sdxl-loha.safetensors", &file);
    let second = ask().await;
    assert_eq!(second.0, "miss");
    assert_ne!(second.1, first.1, "another adapter drew the same picture");
    assert_eq!(ask().await, ("hit".to_owned(), second.1));
    // The first one again is the first one.
    std::fs::remove_file(&file).unwrap();
    link("adapters/files/sdxl-kohya-sgm.safetensors", &file);
    assert_eq!(ask().await, ("hit".to_owned(), first.1));
}

#[tokio::test]
async fn previews_come_while_the_picture_is_made() {
    let Some(engine) = engine() else { return not_run("previews of the local engine") };
    let house = House::new(&engine, "").await;
    let wish = json!({ "prompt": "a red squirrel", "model": "local/sdxl", "seed": 7, "size": "64x64", "steps": 8,
                       "stream": true, "partial_images": 3 });
    let answer = client().post(house.easel.url("/api/generate-image")).json(&wish).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let text = answer.text().await.unwrap();
    let names: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    let previews = names.iter().filter(|name| name.contains("partial")).count();
    // Those that come faster than they are taken are left out.
    assert!((1..=3).contains(&previews), "{names:?}");
    assert!(names.last().unwrap().contains("completed"), "{names:?}");
}

#[tokio::test]
async fn the_same_seed_is_the_same_picture_among_many_requests() {
    let Some(engine) = engine() else { return not_run("requests at once on the local engine") };
    let house = House::new(&engine, "max_batch = 8").await;
    for (model, like) in [("sd", json!({ "steps": 2, "scheduler": "Euler a" })), ("dev", json!({ "steps": 2 }))] {
        let wish = |seed: u64| {
            let mut wish = like.clone();
            wish["seed"] = seed.into();
            wish
        };
        let mut alone = HashMap::new();
        for seed in 0..4 {
            alone.insert(seed, house.picture(model, &wish(seed)).await);
        }
        let many = (0..32_u64).map(|i| {
            let (house, wish) = (&house, wish(i % 4));
            async move { (i % 4, house.picture(model, &wish).await) }
        });
        for (seed, picture) in futures_util::future::join_all(many).await {
            assert!(alone[&seed] == picture, "{model}: seed {seed} came out otherwise");
        }
        // At any place of a batch, too.
        let mut three = wish(1);
        three["n"] = 3.into();
        let batch = house.ask(model, &three).await;
        for (i, image) in batch.body["images"].as_array().unwrap().iter().enumerate() {
            let seed = 1 + i as u64;
            assert_eq!(image["seed"], seed);
            let picture = STANDARD.decode(image["b64_json"].as_str().unwrap()).unwrap();
            assert!(alone[&seed] == picture, "{model}: seed {seed} in a batch");
        }
    }
}

/// Every scheduler that can be asked for makes a picture.
#[tokio::test]
async fn schedulers_are_asked_for_by_the_names_people_know() {
    let Some(engine) = engine() else { return not_run("schedulers of the local engine") };
    let house = House::new(&engine, "").await;
    let mut seen: HashMap<Vec<u8>, &str> = HashMap::new();
    for name in
        ["Euler", "Euler a", "DPM++ 2M Karras", "DPM++ 2M SDE Karras", "DPM++ SDE", "DDIM", "UniPC", "LCM", "PNDM"]
    {
        let picture = house.picture("sd", &json!({ "scheduler": name, "steps": 4 })).await;
        if let Some(other) = seen.insert(picture, name) {
            panic!("{name} draws what {other} draws");
        }
    }
    let refused = house.ask("sd", &json!({ "scheduler": "DPM++ 2N", "strict": true })).await;
    assert_eq!(refused.status, 422);
    assert!(refused.body.to_string().contains("DPM++ 2M"), "{}", refused.body);
}

#[tokio::test]
async fn what_does_not_fit_into_memory_is_refused_before_it_is_begun() {
    let Some(engine) = engine() else { return not_run("the memory of the local engine") };
    let house = House::new(&engine, "memory = { cpu = \"24 MiB\" }").await;
    let refused = house.ask("sd", &json!({ "size": "2048x2048" })).await;
    assert_eq!((refused.status, refused.body["code"].as_str().unwrap()), (507, "out_of_memory"), "{}", refused.body);
    assert!(refused.body["detail"].as_str().unwrap().contains("2048x2048"), "{}", refused.body);
    assert!(!refused.body["hint"].as_str().unwrap().is_empty());
    assert_eq!(refused.attempts(), ["local failed out_of_memory 1"]);
    // The engine lives, and what fits is made.
    house.picture("sd", &json!({})).await;
}
