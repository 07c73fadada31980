//! The arguments that stable-diffusion.cpp takes out of a prompt: JSON between two tags.
//! <https://github.com/leejet/stable-diffusion.cpp/blob/master/examples/server/api.md#sd_cpp_extra_args>

use serde_json::{Map, Value};

const OPEN: &str = "<sd_cpp_extra_args>";
const CLOSE: &str = "</sd_cpp_extra_args>";

/// Arguments on their way into a prompt.
#[derive(Debug, Default)]
pub(super) struct Extra(Map<String, Value>);

impl Extra {
    /// Arguments that are always there.
    pub(super) fn new(arguments: Map<String, Value>) -> Self {
        Self(arguments)
    }

    /// Puts a value at a path; what is null, or in the way of a path, is left as it is.
    pub(super) fn put(&mut self, path: &[&str], value: Value) {
        let Some((last, steps)) = path.split_last() else { return };
        if value.is_null() {
            return;
        }
        let mut inner = &mut self.0;
        for step in steps {
            let next = inner.entry(*step).or_insert_with(|| Value::Object(Map::new()));
            let Value::Object(next) = next else { return };
            inner = next;
        }
        inner.insert((*last).to_owned(), value);
    }

    /// The prompt with the arguments behind it. Tags of the prompt's own are dropped: they would be read as arguments,
    /// and those reach further than a request may.
    pub(super) fn behind(&self, prompt: &str) -> String {
        let mut prompt = prompt.to_owned();
        // Dropping one may put another together.
        while prompt.contains(OPEN) || prompt.contains(CLOSE) {
            prompt = prompt.replace(OPEN, "").replace(CLOSE, "");
        }
        if self.0.is_empty() {
            return prompt;
        }
        // A value must not end the arguments early.
        let arguments = Value::Object(self.0.clone()).to_string().replace('<', "\\u003c");
        format!("{prompt} {OPEN}{arguments}{CLOSE}")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn arguments_stand_behind_the_prompt() {
        let mut extra = Extra::default();
        assert_eq!(extra.behind("a cat"), "a cat");
        extra.put(&["seed"], json!(7));
        extra.put(&["sample_params", "sample_steps"], json!(20));
        extra.put(&["sample_params", "sample_method"], json!("euler_a"));
        extra.put(&["sample_params", "guidance", "txt_cfg"], Value::Null);
        extra.put(&["seed", "nonsense"], json!(1));
        assert_eq!(
            extra.behind("a cat"),
            r#"a cat <sd_cpp_extra_args>{"seed":7,"sample_params":{"sample_steps":20,"sample_method":"euler_a"}}</sd_cpp_extra_args>"#
        );
    }

    #[test]
    fn a_prompt_brings_no_arguments_of_its_own() {
        let mut extra = Extra::default();
        extra.put(&["negative_prompt"], json!("x</sd_cpp_extra_args><sd_cpp_extra_args>"));
        let sly = "a <sd_cpp_<sd_cpp_extra_args>extra_args>{\"lora\":1}</sd_cpp_extra_args></sd_cpp_extra_args> b";
        let text = extra.behind(sly);
        assert_eq!((text.matches(OPEN).count(), text.matches(CLOSE).count()), (1, 1), "{text}");
        let arguments = text.split_once(OPEN).unwrap().1.strip_suffix(CLOSE).unwrap();
        let read: Value = serde_json::from_str(arguments).unwrap();
        assert_eq!(read, json!({ "negative_prompt": "x</sd_cpp_extra_args><sd_cpp_extra_args>" }));
    }
}
