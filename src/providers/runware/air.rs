//! The vendor's names for models and adapters: `source:id@version`. Pure.
//! <https://runware.ai/docs/platform/model-air>

/// No name is longer; what is was put together by a mistake.
const LONGEST: usize = 128;

/// Whether `text` is such a name: three parts of letters, digits, `.`, `_` and `-`, in which the source is lower case.
pub(super) fn is_air(text: &str) -> bool {
    let Some((source, rest)) = text.split_once(':') else { return false };
    let Some((id, version)) = rest.split_once('@') else { return false };
    let is_source = |letter: u8| letter.is_ascii_lowercase() || letter.is_ascii_digit() || b"_-".contains(&letter);
    let is_part = |letter: u8| letter.is_ascii_alphanumeric() || b"._-".contains(&letter);
    text.len() <= LONGEST
        && ![source, id, version].contains(&"")
        && source.bytes().all(is_source)
        && id.bytes().chain(version.bytes()).all(is_part)
}

#[cfg(test)]
mod tests {
    use super::is_air;

    #[test]
    fn only_three_plain_parts_are_a_name() {
        for name in [
            "runware:100@1",
            "civitai:101055@128078",
            "rundiffusion:130@100",
            "google:nano-banana@2.1",
            "bytedance:seedream@5.0-lite",
            "xai:grok-imagine@image",
        ] {
            assert!(is_air(name), "{name}");
        }
        let long = format!("civitai:1@{}", "9".repeat(128));
        for text in [
            "",
            "runware",
            "runware:100",
            "100@1",
            ":100@1",
            "runware:@1",
            "runware:100@",
            "runware:100@1@2",
            "urn:air:sdxl:checkpoint:civitai:101055@128078",
            "Runware:100@1",
            "runware:100@1 ",
            "runware:../x@1",
            "runware:1\"@1",
            "rünware:1@1",
            &long,
        ] {
            assert!(!is_air(text), "{text}");
        }
    }
}
