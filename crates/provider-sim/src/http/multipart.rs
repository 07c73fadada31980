//! Forms (RFC 7578) as clients send them: their parts, in order.

use super::Request;

/// One field of a form.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub name: String,
    /// Whether it came as a file.
    pub is_file: bool,
    pub content: Vec<u8>,
}

impl Part {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.content).into_owned()
    }
}

/// The parts of a form; `None` if the body is not one, or a broken one.
pub(crate) fn parts(request: &Request) -> Option<Vec<Part>> {
    let (kind, parameters) = request.header("content-type")?.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let boundary = parameters.split(';').find_map(|parameter| parameter.trim().strip_prefix("boundary="))?;
    let delimiter = format!("--{}", boundary.trim_matches('"')).into_bytes();
    let mut rest = request.body.get(find(&request.body, &delimiter)? + delimiter.len()..)?;
    let mut parts = Vec::new();
    let line = [b"\r\n", delimiter.as_slice()].concat();
    loop {
        if rest.starts_with(b"--") {
            return Some(parts);
        }
        rest = rest.strip_prefix(b"\r\n")?;
        let head_length = find(rest, b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(rest.get(..head_length)?).into_owned();
        rest = rest.get(head_length + 4..)?;
        let length = find(rest, &line)?;
        parts.push(part(&head, rest.get(..length)?)?);
        rest = rest.get(length + line.len()..)?;
    }
}

fn part(head: &str, content: &[u8]) -> Option<Part> {
    let disposition = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-disposition").then_some(value)
    })?;
    let parameter = |name: &str| {
        disposition
            .split(';')
            .find_map(|word| Some(word.trim().strip_prefix(name)?.strip_prefix('=')?.trim_matches('"')))
    };
    let name = parameter("name")?.to_owned();
    Some(Part { name, is_file: parameter("filename").is_some(), content: content.to_vec() })
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    let first = *wanted.first()?;
    let mut at = 0;
    while let Some(step) = bytes.get(at..)?.iter().position(|byte| *byte == first) {
        at += step;
        if bytes.get(at..)?.starts_with(wanted) {
            return Some(at);
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(body: &str) -> Request {
        let kind = ("Content-Type".to_owned(), "multipart/form-data; boundary=\"X\"".to_owned());
        Request { method: "POST".to_owned(), path: "/".to_owned(), headers: vec![kind], body: body.into() }
    }

    #[test]
    fn parts_are_read_in_order_and_to_the_byte() {
        let request = form(
            "--X\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--2\r\n--X\r\ncontent-disposition: \
             form-data; name=\"image[]\"; filename=\"c.png\"\r\nContent-Type: image/png\r\n\r\n\r\n--X--\r\n",
        );
        let parts = parts(&request).unwrap();
        assert_eq!(parts[0].text(), "1\r\n--2");
        assert_eq!((parts[1].name.as_str(), parts[1].is_file, parts[1].content.len()), ("image[]", true, 0));
        assert_eq!(request.form_fields(), ["a", "image[]"]);
    }

    #[test]
    fn what_has_no_end_is_no_form() {
        assert!(parts(&form("--X\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1")).is_none());
    }
}
