//! The names by which people ask for schedulers, as the keys of a `scheduler_config.json`: the words of A1111 and `ComfyUI`,
//! and the classes of diffusers. Only a table and its look-up; which classes and keys there are is the engine's to say.

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
    /// Whether the class reads `timestep_spacing`.
    spaces: bool,
}

/// The value of a key.
#[derive(Clone, Copy)]
enum Word {
    Is(bool),
    Text(&'static str),
    Number(u32),
}

use Word::{Is, Number, Text};

/// What may follow the name of a method.
struct Spacing {
    name: &'static str,
    /// Its spellings, folded.
    also: &'static [&'static str],
    sort: Sort,
}

#[derive(Clone, Copy)]
enum Sort {
    /// This one of [`SWITCHES`] is on, and the others off: a model's own choice must not stay beside the wished one.
    Sigmas(Option<&'static str>),
    /// Timesteps from the end.
    Trailing,
}

const SWITCHES: [&str; 3] = ["use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas"];

const SPACINGS: [Spacing; 5] = [
    Spacing { name: "Karras", also: &["karras", "k"], sort: Sort::Sigmas(Some("use_karras_sigmas")) },
    Spacing { name: "Exponential", also: &["exponential"], sort: Sort::Sigmas(Some("use_exponential_sigmas")) },
    Spacing { name: "Beta", also: &["beta"], sort: Sort::Sigmas(Some("use_beta_sigmas")) },
    Spacing { name: "Normal", also: &["normal"], sort: Sort::Sigmas(None) },
    Spacing { name: "SGM Uniform", also: &["sgmuniform", "simple"], sort: Sort::Trailing },
];

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
    Method {
        spaces: false,
        ..method(
            "DPM++ 2S",
            &["dpmsolversinglestep"],
            "DPMSolverSinglestepScheduler",
            &solver("dpmsolver++", 2, "midpoint"),
        )
    },
    method("DPM++ SDE", &["dpmsolversde"], "DPMSolverSDEScheduler", &[]),
    Method { respaces: false, ..method("DDIM", &[], "DDIMScheduler", &[]) },
    Method { respaces: false, ..method("PNDM", &[], "PNDMScheduler", &[]) },
    Method { respaces: false, ..method("PLMS", &[], "PNDMScheduler", &[("skip_prk_steps", Is(true))]) },
    method("UniPC", &["unipcmultistep", "unipcbh2"], "UniPCMultistepScheduler", &[("solver_type", Text("bh2"))]),
    Method { respaces: false, spaces: false, ..method("LCM", &[], "LCMScheduler", &[]) },
    Method {
        spaces: false,
        ..method("Flow Match Euler", &["flowmatch", "eulerflow"], "FlowMatchEulerDiscreteScheduler", &[])
    },
];

const fn method(
    name: &'static str,
    also: &'static [&'static str],
    class: &'static str,
    keys: &'static [(&'static str, Word)],
) -> Method {
    Method { name, also, class, keys, respaces: true, spaces: true }
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
        let mut rest = spellings.filter_map(|spelling| wished.strip_prefix(&spelling));
        rest.find_map(|rest| method.keys_with(rest))
    })
}

impl Method {
    /// The keys, where `rest` of a name is nothing or a spacing that it can have.
    fn keys_with(&self, rest: &str) -> Option<Map<String, Value>> {
        let mut keys = Map::from_iter([("_class_name".to_owned(), Value::from(self.class))]);
        keys.extend(self.keys.iter().map(|&(key, word)| (key.to_owned(), Value::from(word))));
        if rest.is_empty() {
            return Some(keys);
        }
        let spacing = self.spacings().find(|spacing| spacing.also.contains(&rest))?;
        if let Sort::Trailing = spacing.sort {
            keys.insert("timestep_spacing".to_owned(), Value::from("trailing"));
        }
        if self.respaces {
            let wished = if let Sort::Sigmas(switch) = spacing.sort { switch } else { None };
            keys.extend(SWITCHES.map(|switch| (switch.to_owned(), Value::from(Some(switch) == wished))));
        }
        Some(keys)
    }

    fn spacings(&self) -> impl Iterator<Item = &'static Spacing> {
        const { &SPACINGS }.iter().filter(|spacing| match spacing.sort {
            Sort::Sigmas(_) => self.respaces,
            Sort::Trailing => self.spaces,
        })
    }
}

/// Every name that is offered, in a fixed order: the methods, each with its spacings, then the classes of diffusers.
pub fn scheduler_names() -> Vec<String> {
    let mut names = Vec::new();
    for method in &METHODS {
        names.push(method.name.to_owned());
        names.extend(method.spacings().map(|spacing| format!("{} {}", method.name, spacing.name)));
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

/// Letters and digits in lower case, `+` as the `p` that `ComfyUI` writes for it, without the `k_` and `sample_` of k-diffusion.
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
        let mut all: Vec<String> =
            names.iter().filter(|name| !name.starts_with("UniPC")).map(|name| keys(name).to_string()).collect();
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
