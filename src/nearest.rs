//! The known name that was probably meant: for everyone who refuses an unknown one.

/// The closest of `known` to `name`, if any is close enough to be worth saying.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(&name.to_lowercase(), candidate), candidate))
        .filter(|(likeness, _)| *likeness >= 0.75)
        .max_by(|(left, _), (right, _)| left.total_cmp(right))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn only_a_likely_name_is_offered() {
        assert_eq!(nearest("adress", ["address", "drain"]), Some("address"));
        assert_eq!(nearest("zzz", ["address", "drain"]), None);
    }
}
