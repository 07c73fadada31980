//! `docs/ERRORS.md` lists exactly the codes that there are, with their statuses.

use std::collections::BTreeMap;
use std::path::Path;

use easel::api::CODES;

#[test]
fn the_documented_codes_are_the_codes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/ERRORS.md");
    let text = std::fs::read_to_string(path).expect("docs/ERRORS.md");
    let mut documented = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let code = cells[1].trim_matches('`').to_owned();
        let before = documented.insert(code, cells[2].parse::<u16>().expect("a status"));
        assert_eq!(before, None, "twice: {line}");
    }
    let known: BTreeMap<String, u16> =
        CODES.iter().map(|code| (code.as_str().to_owned(), code.status().as_u16())).collect();
    assert_eq!(documented, known);
}
