//! The names by which people ask for schedulers, as the keys of a `scheduler_config.json`: A1111's and ComfyUI's words and
//! diffusers' classes. Only a table and its look-up; which classes and keys there are is the engine's to say.

use serde_json::{Map, Value};

/// What a name stands for.
struct Method {
    /// As it is offered.
    name: &'static str,
    /// Other spellings, folded.
    also: &'static [&'static str],
    /// diffusers' class.
    class: &'static str,
    /// Keys that make the class this method.
    keys: &'static [(&'static str, Word)],
    /// Whether the class can lay its sigmas anew.
    respaces: bool,
}

/// The value of a key.
#[derive(Clone, Copy)]
enum Word {
    Is(bool),
    Text(&'static str),
    Number(u32),
}

use Word::{Is, Number, Text};

/// What may follow the name of a method, its other spellings, and the keys it sets. A model's own choice must not stay
/// beside the wished one, so each sets all three switches.
const SPACINGS: [(&str, &[&str], &[(&str, Word)]); 5] = [
    ("Karras", &["karras", "k"], &[KARRAS_ON, EXPONENTIAL_OFF, BETA_OFF]),
    ("Exponential", &["exponential"], &[KARRAS_OFF, ("use_exponential_sigmas", Is(true)), BETA_OFF]),
    ("Beta", &["beta"], &[KARRAS_OFF, EXPONENTIAL_OFF, ("use_beta_sigmas", Is(true))]),
    ("Normal", &["normal"], &[KARRAS_OFF, EXPONENTIAL_OFF, BETA_OFF]),
    (
        "SGM Uniform",
        &["sgmuniform", "simple"],
        &[KARRAS_OFF, EXPONENTIAL_OFF, BETA_OFF, ("timestep_spacing", Text("trailing"))],
    ),
];
const KARRAS_ON: (&str, Word) = ("use_karras_sigmas", Is(true));
const KARRAS_OFF: (&str, Word) = ("use_karras_sigmas", Is(false));
const EXPONENTIAL_OFF: (&str, Word) = ("use_exponential_sigmas", Is(false));
const BETA_OFF: (&str, Word) = ("use_beta_sigmas", Is(false));

const MULTISTEP: &str = "DPMSolverMultistepScheduler";

const METHODS: [Method; 17] = [
    method("Euler", &[], "EulerDiscreteScheduler", &[]),
    Method { respaces: false, ..method("Euler a", &["eulerancestral"], "EulerAncestralDiscreteScheduler", &[]) },
    method("Heun", &[], "HeunDiscreteScheduler", &[]),
    method("DPM++ 2M", &["dpmsolvermultistep"], MULTISTEP, &solver("dpmsolver++", 2, "midpoint")),
    method("DPM++ 2M Heun", &[], MULTISTEP, &solver("dpmsolver++", 2, "heun")),
    method("DPM++ 2M SDE", &[], MULTISTEP, &solver("sde-dpmsolver++", 2, "midpoint")),
    method("DPM++ 2M SDE Heun", &[], MULTISTEP, &solver("sde-dpmsolver++", 2, "heun")),
    method("DPM++ 3M", &[], MULTISTEP, &solver("dpmsolver++", 3, "midpoint")),
    method("DPM++ 3M SDE", &[], MULTISTEP, &solver("sde-dpmsolver++", 3, "midpoint")),
    method("DPM++ 2S", &["dpmsolversinglestep"], "DPMSolverSinglestepScheduler", &solver("dpmsolver++", 2, "midpoint")),
    method("DPM++ SDE", &["dpmsolversde"], "DPMSolverSDEScheduler", &[]),
    Method { respaces: false, ..method("DDIM", &[], "DDIMScheduler", &[]) },
    Method { respaces: false, ..method("PNDM", &[], "PNDMScheduler", &[]) },
    Method { respaces: false, ..method("PLMS", &[], "PNDMScheduler", &[("skip_prk_steps", Is(true))]) },
    method("UniPC", &["unipcmultistep", "unipcbh2"], "UniPCMultistepScheduler", &[("solver_type", Text("bh2"))]),
    Method { respaces: false, ..method("LCM", &[], "LCMScheduler", &[]) },
    method("Flow Match Euler", &["flowmatch", "eulerflow"], "FlowMatchEulerDiscreteScheduler", &[]),
];

const fn method(
    name: &'static str,
    also: &'static [&'static str],
    class: &'static str,
    keys: &'static [(&'static str, Word)],
) -> Method {
    Method { name, also, class, keys, respaces: true }
}

const fn solver(algorithm: &'static str, order: u32, solver: &'static str) -> [(&'static str, Word); 3] {
    [("algorithm_type", Text(algorithm)), ("solver_order", Number(order)), ("solver_type", Text(solver))]
}

/// The keys that select the scheduler of this name: a diffusers class (the model's own keys stay as they are), or a name as
/// people write it (`euler`, `DPM++ 2M SDE Karras`, `dpmpp_2m_sde_karras`). Case, spaces, `-` and `_` do not matter. `None`
/// when there is none.
pub fn scheduler_keys(name: &str) -> Option<Map<String, Value>> {
    let wished = folded(name);
    if let Some(method) = METHODS.iter().find(|method| folded(method.class) == wished) {
        return Some(Map::from_iter([("_class_name".to_owned(), Value::from(method.class))]));
    }
    METHODS.iter().find_map(|method| {
        let spellings = std::iter::once(folded(method.name)).chain(method.also.iter().map(|&also| also.to_owned()));
        let rest = spellings.filter_map(|spelling| wished.strip_prefix(&spelling));
        rest.filter_map(|rest| spacing(method, rest)).next().map(|spacing| {
            let class = std::iter::once(("_class_name", Text(method.class)));
            let all = class.chain(method.keys.iter().copied()).chain(spacing.iter().copied());
            all.map(|(key, word)| (key.to_owned(), Value::from(word))).collect()
        })
    })
}

/// What the rest of a name says about the sigmas; `None` when it says something else.
fn spacing(method: &Method, rest: &str) -> Option<&'static [(&'static str, Word)]> {
    if rest.is_empty() {
        return Some(&[]);
    }
    let found = SPACINGS.iter().find(|(_, spellings, _)| spellings.contains(&rest));
    found.filter(|_| method.respaces).map(|(_, _, keys)| *keys)
}

/// Every name that is offered, in a fixed order: the methods, each with its spacings, then the classes of diffusers.
pub fn scheduler_names() -> Vec<String> {
    let mut names = Vec::new();
    for method in &METHODS {
        names.push(method.name.to_owned());
        if method.respaces {
            names.extend(SPACINGS.iter().map(|(spacing, _, _)| format!("{} {spacing}", method.name)));
        }
    }
    for method in &METHODS {
        if !names.iter().any(|name| name == method.class) {
            names.push(method.class.to_owned());
        }
    }
    names
}

/// The offered names that are nearest to one that there is not, the nearest first.
pub fn nearest_schedulers(name: &str) -> Vec<String> {
    let wished = folded(name);
    let mut names = scheduler_names();
    let likeness = |name: &String| strsim::jaro_winkler(&wished, &folded(name));
    names.sort_by(|a, b| likeness(b).total_cmp(&likeness(a)));
    names.truncate(5);
    names
}

impl From<Word> for Value {
    fn from(word: Word) -> Self {
        match word {
            Is(is) => Self::from(is),
            Text(text) => Self::from(text),
            Number(number) => Self::from(number),
        }
    }
}

/// Letters and digits in lower case, `+` as the `p` that ComfyUI writes for it, without the `k_` and `sample_` of k-diffusion.
fn folded(name: &str) -> String {
    let lower = name.trim().to_lowercase().replace('+', "p");
    let bare = ["sample_", "k_"].iter().find_map(|prefix| lower.strip_prefix(prefix)).unwrap_or(&lower);
    bare.chars().filter(|letter| letter.is_alphanumeric()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{nearest_schedulers, scheduler_keys, scheduler_names};

    fn keys(name: &str) -> Value {
        scheduler_keys(name).map_or(Value::Null, Value::from)
    }

    #[test]
    fn names_become_keys_however_they_are_written() {
        for name in ["euler", "Euler", " EULER ", "k_euler", "EulerDiscreteScheduler"] {
            assert_eq!(keys(name), json!({ "_class_name": "EulerDiscreteScheduler" }), "{name}");
        }
        let karras = json!({
            "_class_name": "EulerDiscreteScheduler",
            "use_karras_sigmas": true, "use_exponential_sigmas": false, "use_beta_sigmas": false,
        });
        assert_eq!(keys("euler_karras"), karras);
        let sde = json!({
            "_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "sde-dpmsolver++", "solver_order": 2,
            "solver_type": "midpoint", "use_karras_sigmas": true, "use_exponential_sigmas": false, "use_beta_sigmas": false,
        });
        for name in ["DPM++ 2M SDE Karras", "dpmpp_2m_sde_karras", "dpmpp_2m_sde_k", "sample_dpmpp_2m_sde_karras"] {
            assert_eq!(keys(name), sde, "{name}");
        }
        for (name, class) in [
            ("Euler a", "EulerAncestralDiscreteScheduler"),
            ("euler_ancestral", "EulerAncestralDiscreteScheduler"),
            ("DPM++ SDE", "DPMSolverSDEScheduler"),
            ("ddim", "DDIMScheduler"),
            ("uni_pc", "UniPCMultistepScheduler"),
            ("lcm", "LCMScheduler"),
            ("plms", "PNDMScheduler"),
            ("heun", "HeunDiscreteScheduler"),
        ] {
            assert_eq!(keys(name)["_class_name"], class, "{name}");
        }
        for name in ["quantum", "Euler a Karras", "DPM++ 2M Heun Karras Beta", ""] {
            assert_eq!(keys(name), Value::Null, "{name}");
        }
    }

    #[test]
    fn every_offered_name_is_known_and_no_two_are_the_same() {
        let names = scheduler_names();
        assert!(names.iter().all(|name| scheduler_keys(name).is_some()));
        let mut all: Vec<String> = names.iter().filter(|name| !name.starts_with("UniPC")).map(|name| keys(name).to_string()).collect();
        let count = all.len();
        all.sort();
        all.dedup();
        // A class of diffusers and the method that adds nothing to it are the same.
        assert!(count - all.len() <= 8, "{count} names, {} of them different", all.len());
    }

    #[test]
    fn the_nearest_come_first() {
        assert_eq!(nearest_schedulers("DPM++ 2M Karas")[0], "DPM++ 2M Karras");
        assert_eq!(nearest_schedulers("DPM++ 2S a").len(), 5);
    }
}
