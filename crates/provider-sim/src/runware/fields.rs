//! The fields of `imageInference`, and what each of them takes, as far as that is the same for all models.

use super::check::Check::{
    self, Air, Any, AnyCase, Flag, Image, Int, List, Names, Number, Object, OneOf, Text, Url, Uuid,
};

const fn int(min: u64, max: u64) -> Check {
    Int { min, max, step: 1 }
}

const fn steps(max: u64) -> Check {
    Int { min: 0, max, step: 64 }
}

/// Models that are mixed in, with their weight.
const WEIGHTED: Check = Object(&[("model", Air), ("weight", Number { min: -4.0, max: 4.0 })]);
const IMAGES: Check = List { of: &Image, most: 16 };

/// All of them. Sizes, prompts and places of pictures also depend on the model.
pub(super) const FIELDS: &[(&str, Check)] = &[
    ("taskType", OneOf(&["imageInference"])),
    ("taskUUID", Uuid),
    ("model", Air),
    ("positivePrompt", Text { min: 2, max: 45_000 }),
    ("negativePrompt", Text { min: 2, max: 3_000 }),
    ("width", int(1, 16_383)),
    ("height", int(1, 16_383)),
    ("resolution", OneOf(&["0.5k", "1k", "2k", "4k"])),
    ("steps", int(1, 100)),
    ("scheduler", Names(SCHEDULERS)),
    ("seed", int(1, 9_223_372_036_854_776_000)),
    ("CFGScale", Number { min: 0.0, max: 50.0 }),
    ("clipSkip", int(0, 2)),
    ("strength", Number { min: 0.0, max: 1.0 }),
    ("numberResults", int(1, 20)),
    ("outputType", OneOf(&["URL", "base64Data", "dataURI"])),
    ("outputFormat", AnyCase(&["JPG", "JPEG", "PNG", "WEBP"])),
    ("outputQuality", int(20, 99)),
    ("includeCost", Flag),
    ("deliveryMethod", OneOf(&["sync", "async"])),
    ("webhookURL", Url),
    ("uploadEndpoint", Url),
    ("ttl", int(60, u64::MAX)),
    (
        "safety",
        Object(&[
            ("checkContent", Flag),
            ("mode", OneOf(&["none", "fast", "full"])),
            ("tolerance", Any),
            ("checkInputs", Any),
        ]),
    ),
    ("checkNSFW", Flag),
    ("seedImage", Image),
    ("maskImage", Image),
    ("maskMargin", int(32, 128)),
    (
        "outpaint",
        Object(&[
            ("top", steps(2_048)),
            ("right", steps(2_048)),
            ("bottom", steps(2_048)),
            ("left", steps(2_048)),
            ("blur", int(0, 32)),
        ]),
    ),
    ("referenceImages", IMAGES),
    (
        "inputs",
        Object(&[
            ("image", Image),
            ("mask", Image),
            ("seedImage", Image),
            ("maskImage", Image),
            ("referenceImages", IMAGES),
            ("references", Any),
            ("images", IMAGES),
            ("superResolutionReferenceImages", IMAGES),
        ]),
    ),
    ("lora", List { of: &WEIGHTED, most: 20 }),
    ("lycoris", List { of: &WEIGHTED, most: 20 }),
    ("embeddings", List { of: &WEIGHTED, most: 20 }),
    (
        "controlNet",
        List {
            of: &Object(&[
                ("model", Air),
                ("guideImage", Image),
                ("weight", Number { min: -4.0, max: 4.0 }),
                ("startStep", int(0, 100)),
                ("startStepPercentage", int(0, 99)),
                ("endStep", int(0, 100)),
                ("endStepPercentage", int(0, 100)),
                ("controlMode", OneOf(&["prompt", "controlnet", "balanced"])),
            ]),
            most: 20,
        },
    ),
    (
        "ipAdapters",
        List {
            of: &Object(&[
                ("model", Air),
                ("guideImages", IMAGES),
                ("guideImage", Image),
                ("weight", Number { min: 0.0, max: 1.0 }),
            ]),
            most: 20,
        },
    ),
    ("refiner", Object(&[("model", Air), ("startStep", int(2, 100)), ("startStepPercentage", int(1, 99))])),
    ("vae", Air),
    ("promptWeighting", OneOf(&["compel", "sdEmbeds"])),
    ("acceleration", OneOf(&["none", "low", "medium", "high"])),
    ("acceleratorOptions", Any),
    ("puLID", Any),
    ("acePlusPlus", Any),
    ("advancedFeatures", Any),
    ("photoMaker", Any),
    ("instantID", Any),
    ("ultralytics", Any),
    ("hiresFix", Any),
    ("providerSettings", Any),
    ("settings", Any),
    ("routing", Any),
];

/// Fields without which nothing is done.
pub(super) const REQUIRED: [&str; 3] = ["taskUUID", "model", "positivePrompt"];

const SCHEDULERS: &[&str] = &[
    "Default",
    "DDIM*",
    "DDPMScheduler",
    "DEISMultistepScheduler",
    "DPM++*",
    "DPMSolver*",
    "EDM*",
    "Euler",
    "Euler a",
    "Euler Beta",
    "Euler Exponential",
    "Euler Karras",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "FlowMatchEulerDiscreteScheduler",
    "Heun",
    "Heun Karras",
    "HeunDiscreteScheduler",
    "IPNDM*",
    "KDPM2*",
    "LCM",
    "LCMScheduler",
    "LMS",
    "LMS Karras",
    "LMSDiscreteScheduler",
    "PNDMScheduler",
    "TCDScheduler",
    "UniPC*",
];
