//! The schedulers that the vendor's schemas list, and how a caller's spelling of one finds it. Pure.

/// The names as the vendor writes them, `FlowMatchEulerDiscreteScheduler` and its siblings being those of diffusers.
#[rustfmt::skip]
const NAMES: [&str; 75] = [
    "Default", "DDIM", "DDIMScheduler", "DDPMScheduler", "DEISMultistepScheduler",
    "DPM++", "DPM++ Beta", "DPM++ Exponential", "DPM++ Karras",
    "DPM++ Uniform", "DPM++ Uniform Beta", "DPM++ Uniform Exponential", "DPM++ Uniform Karras",
    "DPM++ 2M", "DPM++ 2M Beta", "DPM++ 2M Exponential", "DPM++ 2M Karras", "DPM++ 2M Uniform",
    "DPM++ 2M SDE", "DPM++ 2M SDE Beta", "DPM++ 2M SDE Exponential", "DPM++ 2M SDE Karras", "DPM++ 2M SDE Uniform",
    "DPM++ 3M", "DPM++ 3M Beta", "DPM++ 3M Exponential", "DPM++ 3M Karras", "DPM++ 3M Uniform", "DPM++ 3M SDE Uniform",
    "DPM++ SDE", "DPM++ SDE Beta", "DPM++ SDE Exponential", "DPM++ SDE Karras",
    "DPMSolverMultistepInverse", "DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler",
    "EDMDPMSolverMultistepScheduler", "EDMEulerScheduler",
    "Euler", "Euler a", "Euler Beta", "Euler Exponential", "Euler Karras",
    "EulerAncestralDiscreteScheduler", "EulerDiscreteScheduler", "FlowMatchEulerDiscreteScheduler",
    "Heun", "Heun Karras", "HeunDiscreteScheduler",
    "IPNDMScheduler", "IPNDM Uniform", "IPNDM Uniform Beta", "IPNDM Uniform Exponential", "IPNDM Uniform Karras",
    "KDPM2AncestralDiscreteScheduler", "KDPM2DiscreteScheduler",
    "LCM", "LCMScheduler", "LMS", "LMS Karras", "LMSDiscreteScheduler", "PNDMScheduler", "TCDScheduler",
    "UniPC", "UniPC Karras", "UniPC 2M", "UniPC 2M Karras", "UniPC 2M Uniform",
    "UniPC 3M", "UniPC 3M Karras", "UniPC 3M Uniform",
    "UniPC Uniform", "UniPC Uniform Beta", "UniPC Uniform Exponential", "UniPC Uniform Karras",
];

/// What others call some of them.
const OTHER_NAMES: [(&str, &str); 11] = [
    ("Euler Ancestral", "Euler a"),
    ("DPMPP", "DPM++"),
    ("DPMPP 2M", "DPM++ 2M"),
    ("DPMPP 2M Karras", "DPM++ 2M Karras"),
    ("DPMPP 2M SDE", "DPM++ 2M SDE"),
    ("DPMPP 2M SDE Karras", "DPM++ 2M SDE Karras"),
    ("DPMPP SDE", "DPM++ SDE"),
    ("DPMPP SDE Karras", "DPM++ SDE Karras"),
    ("DPM2", "KDPM2DiscreteScheduler"),
    ("DPM2 a", "KDPM2AncestralDiscreteScheduler"),
    ("UniPCMultistepScheduler", "UniPC"),
];

/// The vendor's name of the scheduler that is called `name`; `None` where it has none. Case, spaces, `-` and `_` do not
/// matter.
pub(super) fn find(name: &str) -> Option<&'static str> {
    let wished = folded(name);
    let listed = NAMES.iter().find(|known| folded(known) == wished);
    let other = || OTHER_NAMES.iter().find(|(other, _)| folded(other) == wished).map(|(_, known)| known);
    listed.or_else(other).copied()
}

fn folded(name: &str) -> String {
    let counts = |letter: &char| letter.is_alphanumeric() || *letter == '+';
    name.chars().filter(counts).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::{NAMES, OTHER_NAMES, find, folded};

    #[test]
    fn names_are_found_however_they_are_written() {
        for (name, known) in [
            ("Euler Beta", Some("Euler Beta")),
            ("euler_a", Some("Euler a")),
            ("Euler Ancestral", Some("Euler a")),
            ("dpm++ 2m karras", Some("DPM++ 2M Karras")),
            ("dpmpp-2m-karras", Some("DPM++ 2M Karras")),
            ("FlowMatchEulerDiscreteScheduler", Some("FlowMatchEulerDiscreteScheduler")),
            ("unipc", Some("UniPC")),
            ("quantum", None),
            ("", None),
        ] {
            assert_eq!(find(name), known, "{name}");
        }
    }

    #[test]
    fn every_name_is_found_by_itself_and_once() {
        let mut seen: Vec<String> = NAMES.iter().map(|name| folded(name)).collect();
        seen.extend(OTHER_NAMES.iter().map(|(other, _)| folded(other)));
        let count = seen.len();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), count);
        assert!(NAMES.iter().all(|name| find(name) == Some(name)));
        assert!(OTHER_NAMES.iter().all(|(other, known)| find(other) == Some(known)));
    }
}
