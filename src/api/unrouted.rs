//! What is answered where no route takes a request: the wrong method, or no such path.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use actix_web::http::{Method, header};
use actix_web::{HttpRequest, HttpResponse};

use super::error::{ApiError, Code};
use super::{docs, openapi};
use crate::nearest::nearest;

/// The default service.
pub(super) async fn answer(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let Some(allow) = methods(request.path()) else {
        let hint = nearest(request.path(), table().keys().map(String::as_str)).map_or_else(
            || format!("{} lists every route", docs::PAGES),
            |near| format!("did you mean {near}? {} lists every route", docs::PAGES),
        );
        return Err(ApiError::new(Code::NotFound, "there is no such route", hint));
    };
    if request.method() == Method::OPTIONS {
        return Ok(HttpResponse::NoContent().insert_header((header::ALLOW, allow)).finish());
    }
    let detail = format!("this route does not take {}", request.method());
    Err(ApiError::new(Code::MethodNotAllowed, detail, format!("it takes {allow}")).with_header("allow", allow))
}

/// The methods that a path takes, as in an `Allow` header.
fn methods(path: &str) -> Option<String> {
    let known = table().iter().find(|(known, _)| fits(known, path)).map(|(_, allow)| allow.clone());
    known.or_else(|| path.starts_with(docs::PAGES).then(|| allow(&["GET"])))
}

/// Whether a path is this documented one; what stands there in braces is any one step of it.
fn fits(known: &str, path: &str) -> bool {
    let (mut known, mut path) = (known.split('/'), path.split('/'));
    loop {
        match (known.next(), path.next()) {
            (None, None) => return true,
            (Some(known), Some(step)) if known == step || (known.starts_with('{') && !step.is_empty()) => {}
            _ => return false,
        }
    }
}

/// Every documented path and its methods, read from the document that the handlers make.
fn table() -> &'static BTreeMap<String, String> {
    static TABLE: OnceLock<BTreeMap<String, String>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let document = serde_json::to_value(openapi::document()).unwrap_or_default();
        let paths = document.get("paths").and_then(serde_json::Value::as_object).cloned().unwrap_or_default();
        let documented = paths.iter().map(|(path, item)| {
            let methods: Vec<String> = item.as_object().into_iter().flatten().map(|(m, _)| m.to_uppercase()).collect();
            (path.clone(), allow(&methods.iter().map(String::as_str).collect::<Vec<_>>()))
        });
        let get = |path: &str| (path.to_owned(), allow(&["GET"]));
        documented.chain([get(docs::DOCUMENT), get("/swagger-ui")]).collect()
    })
}

fn allow(methods: &[&str]) -> String {
    let mut all: BTreeSet<&str> = methods.iter().copied().collect();
    if all.contains("GET") {
        all.insert("HEAD");
    }
    all.insert("OPTIONS");
    all.into_iter().collect::<Vec<_>>().join(", ")
}
