//! One request to the upstream and its answer, within bounds.

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::multipart::{Form, Part};
use reqwest::{RequestBuilder, Response, StatusCode, Url};
use serde_json::Value;

use super::request::Body;
use crate::fetch::Origin;
use crate::generation::SourceImage;
use crate::providers::http::Clients;
use crate::providers::upstream::{self, MAX_ANSWER, MAX_ERROR};
use crate::providers::{Call, Error, ErrorKind};
use crate::secret::Secret;

/// The connection to one upstream, made on first use.
pub(super) struct Client {
    base: Url,
    key: Option<Secret>,
    /// Headers that the configuration adds to every request.
    headers: HeaderMap,
    http: Clients,
}

/// An answer that is no 200.
pub(super) struct Refused {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// As much of its body as is read of an error.
    pub body: Vec<u8>,
}

impl Client {
    pub(super) fn new(base: Url, key: Option<Secret>, headers: HeaderMap) -> Self {
        Self { base, key, headers, http: Clients::default() }
    }

    /// The origin that answered addresses may lie on whatever it is.
    pub(super) fn origin(&self) -> Option<Origin> {
        Origin::of(&self.base)
    }

    /// The key, so that nothing that holds it is repeated.
    pub(super) fn key(&self) -> Option<&Secret> {
        self.key.as_ref()
    }

    /// Sends `body` to `{base}/{path}`; the answer of a 200, or what came in its place.
    pub(super) async fn post(
        &self,
        path: &str,
        body: Body,
        further: &[(HeaderName, HeaderValue)],
        call: &Call,
    ) -> Result<Result<Response, Refused>, Error> {
        let mut headers = self.headers.clone();
        if let Some(key) = &self.key {
            headers.insert(AUTHORIZATION, bearer(key)?);
        }
        headers.extend(further.iter().cloned());
        let request = self.http.mine()?.post(self.url(path)?).headers(headers);
        let request = with_body(request, body)?;
        call.count_upstream_call();
        let response = request.send().await.map_err(upstream::of_transport)?;
        if response.status() == StatusCode::OK {
            return Ok(Ok(response));
        }
        let (status, headers) = (response.status(), response.headers().clone());
        // The status tells enough where the body cannot be had.
        let body = upstream::read(response, MAX_ERROR).await.map(|body| body.bytes).unwrap_or_default();
        Ok(Err(Refused { status, headers, body }))
    }

    /// The path goes before the query that the base may have.
    fn url(&self, path: &str) -> Result<Url, Error> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| Error::new(ErrorKind::Internal, "nothing can be appended to the provider's address"))?
            .pop_if_empty()
            .extend(path.split('/').filter(|part| !part.is_empty()));
        Ok(url)
    }
}

/// The whole body of a 200.
pub(super) async fn whole(response: Response) -> Result<Vec<u8>, Error> {
    let body = upstream::read(refuse_page(response)?, MAX_ANSWER).await?;
    if !body.is_whole {
        let message = format!("the provider's answer is longer than {MAX_ANSWER} bytes");
        return Err(Error::new(ErrorKind::Protocol, message));
    }
    Ok(body.bytes)
}

/// The answer, unless it says that it is a web page.
pub(super) fn refuse_page(response: Response) -> Result<Response, Error> {
    if upstream::is_html(&response) {
        return Err(Error::new(ErrorKind::Protocol, "the provider answered with a web page")
            .with_hint("check base_url in the configuration"));
    }
    Ok(response)
}

/// The rest of the body of a 200 that began with `first`.
pub(super) async fn rest(first: &[u8], response: Response) -> Result<Vec<u8>, Error> {
    let mut bytes = first.to_vec();
    bytes.extend(whole(response).await?);
    Ok(bytes)
}

/// Whether the answer is a stream of events, by its name or else by its beginning: it need not be one because one was
/// asked for, and it may be called something else.
pub(super) fn is_event_stream(response: &Response, first: &[u8]) -> bool {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let is_called_so = kind.trim_start().to_ascii_lowercase().starts_with("text/event-stream");
    is_called_so || [b"event:".as_slice(), b"data:", b"id:", b"retry:", b":"].iter().any(|name| first.starts_with(name))
}

/// What is accepted, and the request's id, which an upstream may log.
pub(super) fn usual_headers(is_streamed: bool, id_header: &'static str, id: &str) -> Vec<(HeaderName, HeaderValue)> {
    let accept = if is_streamed { "text/event-stream, application/json" } else { "application/json" };
    let mut headers = vec![(ACCEPT, HeaderValue::from_static(accept))];
    headers.extend(HeaderValue::from_str(id).ok().map(|id| (HeaderName::from_static(id_header), id)));
    headers
}

fn with_body(request: RequestBuilder, body: Body) -> Result<RequestBuilder, Error> {
    let (fields, files) = match body {
        Body::Json(fields) => return Ok(request.json(&fields)),
        Body::Form { fields, files } => (fields, files),
    };
    let mut form = Form::new();
    for (name, value) in fields {
        let text = match value {
            Value::Null => continue,
            Value::String(text) => text,
            other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => other.to_string(),
        };
        form = form.text(name, text);
    }
    for (number, (name, file)) in files.into_iter().enumerate() {
        form = form.part(name, part(number, file)?);
    }
    Ok(request.multipart(form))
}

/// A file of a form; servers that look at names want one that fits.
fn part(number: usize, file: SourceImage) -> Result<Part, Error> {
    let kind = file.format.mime_type();
    let name = format!("{number}.{}", kind.strip_prefix("image/").unwrap_or(kind));
    // The bytes are shared, not copied, and their length is known.
    let length = file.bytes.len() as u64;
    Part::stream_with_length(file.bytes, length).file_name(name).mime_str(kind).map_err(|error| {
        Error::new(ErrorKind::Internal, "the form with the pictures could not be made").with_source(error)
    })
}

fn bearer(key: &Secret) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", key.expose()))
        .map_err(|_| Error::new(ErrorKind::Unauthorized, "the configured key holds characters that no key has"))?;
    value.set_sensitive(true);
    Ok(value)
}
