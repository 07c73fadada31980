//! `GET /pictures/{name}`: finished pictures for whoever asked for their addresses.
//!
//! A name cannot be guessed and is told only to whoever asked for the picture; nothing lists them. How pictures come to
//! be is not known here.

use std::io::{Seek as _, SeekFrom};
use std::path::Path;
use std::str::FromStr as _;
use std::time::{Duration, SystemTime};

use actix_web::body::SizedStream;
use actix_web::http::header::{
    self, ByteRangeSpec, ContentRangeSpec, EntityTag, Header as _, IfNoneMatch, IfRange, Range,
};
use actix_web::http::uri::Authority;
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, get, web};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt as _;
use tokio_util::io::ReaderStream;
use utoipa::ToSchema;

use super::State;
use super::error::{ApiError, Code};
use super::openapi::PictureErrors;
use crate::generation::{GeneratedImage, ImageFormat};
use crate::store::{Draft, Name, Opened, Store};

/// Below which the pictures are.
pub(super) const ROUTE: &str = "/pictures/";
/// The folder of the pictures, below `[storage] data_dir`.
const FOLDER: &str = "pictures";
/// Bytes that are read at a time.
const PIECE: usize = 64 * 1024;

/// The pictures that can be fetched.
#[derive(Debug)]
pub struct Pictures {
    store: Store,
    lives: Duration,
    public_url: Option<String>,
}

/// What is kept beside a picture.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    mime_type: String,
}

impl Pictures {
    /// The pictures below this data folder: at most so many bytes (0: none), each for so long. Their addresses begin with
    /// `public_url`, else with what their request was sent to.
    pub fn new(data_dir: &Path, most: u64, lives: Duration, public_url: Option<String>) -> Self {
        Self { store: Store::new(&data_dir.join(FOLDER), most), lives, public_url }
    }

    /// Whether any picture can be kept.
    pub(super) fn are_kept(&self) -> bool {
        self.store.is_on()
    }

    /// Forgets what has expired.
    pub async fn tidy(&self) {
        if let Err(error) = self.store.tidy().await {
            tracing::warn!(%error, "the folder of pictures cannot be tidied");
        }
    }

    /// What the addresses of pictures begin with for whoever sent `request`.
    pub(super) fn base(&self, request: &HttpRequest) -> String {
        if let Some(url) = &self.public_url {
            return url.clone();
        }
        // Only what the client itself asked for: a forwarding header may come from anybody.
        let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
        let host = host.map_or_else(|| request.uri().authority().cloned(), |host| Authority::from_str(host).ok());
        let named = host.filter(|host| !host.host().is_empty() && !host.as_str().contains('@'));
        match named {
            Some(host) => format!("http://{host}"),
            None => format!("http://{}", request.app_config().local_addr()),
        }
    }

    /// Keeps these pictures, each for an address of its own; `None` in the place of one that could not be kept.
    pub(super) async fn keep(&self, images: &[GeneratedImage], base: &str) -> Vec<Option<String>> {
        let (store, images) = (self.store.clone(), images.to_vec());
        let expires = SystemTime::now() + self.lives;
        let kept = tokio::task::spawn_blocking(move || {
            let names: Vec<_> = images.iter().map(|image| keep(&store, image, expires)).collect();
            // A later one may have made an earlier one go.
            names.into_iter().map(|name| name.filter(|name| store.holds(name))).collect::<Vec<_>>()
        });
        let names = kept.await.unwrap_or_else(|broken| {
            tracing::error!(error = %broken, "the keeping of pictures broke off");
            Vec::new()
        });
        names.into_iter().map(|name| name.map(|name| format!("{base}{ROUTE}{}", name.as_str()))).collect()
    }
}

fn keep(store: &Store, image: &GeneratedImage, expires: SystemTime) -> Option<Name> {
    let name = Name::unguessable().with_ending(ending(image.format))?;
    let (file, head) = (image.data.file(), Head { mime_type: image.format.mime_type().to_owned() });
    let draft = Draft { head, expires, length: file.len() as u64, body: [file] };
    let written = store.write(&name, draft);
    written
        .inspect_err(|error| tracing::warn!(%error, "a picture could not be kept; it is sent in its answer"))
        .ok()?;
    Some(name)
}

fn ending(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Png => "png",
        ImageFormat::Jpeg => "jpg",
        ImageFormat::Webp => "webp",
    }
}

/// A picture's bytes, for the document.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
struct PictureFile(());

/// Fetch a picture.
///
/// The file at an address that `POST /api/generate-image` answered with `"response_format": "url"`. Whoever has the
/// address can fetch it until it expires (`[storage] picture_ttl`), also after a restart. `If-None-Match`, `Range` (one
/// part) and `If-Range` are understood.
#[utoipa::path(
    tag = "pictures",
    params(("name" = String, Path, description = "The name in the address")),
    responses(
        (status = 200, description = "The file", headers(
            ("cache-control" = String, description = "`private`, and the seconds that are left"),
            ("content-disposition" = String, description = "`inline`, and a name for the file"),
            ("etag" = String, description = "The file's own"),
        ), content((PictureFile = "image/png"), (PictureFile = "image/jpeg"), (PictureFile = "image/webp"))),
        (status = 206, description = "The part that `Range` names",
            content((PictureFile = "image/png"), (PictureFile = "image/jpeg"), (PictureFile = "image/webp"))),
        (status = 304, description = "`If-None-Match` has it already"),
        PictureErrors,
    )
)]
#[get("/pictures/{name}")]
pub(super) async fn read(state: web::Data<State>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    // As it was written: a name has no letter that would have to be encoded.
    let name = Name::parse(request.match_info().query("name")).ok_or_else(unknown)?;
    let opened = state.pictures.store.look_up::<Head>(name.clone()).await;
    serve(&request, &name, opened.map_err(unreadable)?.ok_or_else(unknown)?)
}

fn unreadable(error: std::io::Error) -> ApiError {
    let hint = "the log has the cause under this request id";
    ApiError::new(Code::Internal, "the picture cannot be read", hint).with_source(error)
}

fn unknown() -> ApiError {
    let hint = "pictures are kept for [storage] picture_ttl, in at most pictures_max; ask for it again";
    ApiError::new(Code::UnknownPicture, "there is no such picture, or no longer", hint)
}

fn serve(request: &HttpRequest, name: &Name, picture: Opened<Head>) -> Result<HttpResponse, ApiError> {
    let Opened { head, expires, mut file, begin, length } = picture;
    // A name is for one content, for ever.
    let tag = EntityTag::new_strong(name.as_str().to_owned());
    if IfNoneMatch::parse(request).is_ok_and(|known| is_among(&tag, &known)) {
        return Ok(described(&mut HttpResponse::NotModified(), &tag, expires).finish());
    }
    let part = part(request, &tag, length)?;
    let (from, to) = part.unwrap_or((0, length.saturating_sub(1)));
    let size = if length == 0 { 0 } else { to - from + 1 };
    file.seek(SeekFrom::Start(begin + from)).map_err(unreadable)?;
    let pieces = ReaderStream::with_capacity(tokio::fs::File::from_std(file).take(size), PIECE);
    let mut answer = if part.is_some() { HttpResponse::PartialContent() } else { HttpResponse::Ok() };
    if part.is_some() {
        let range = ContentRangeSpec::Bytes { range: part, instance_length: Some(length) };
        answer.insert_header(header::ContentRange(range));
    }
    answer.insert_header((header::CONTENT_TYPE, head.mime_type));
    let disposition = format!("inline; filename=\"easel-{}\"", short(name.as_str()));
    answer.insert_header((header::CONTENT_DISPOSITION, disposition));
    Ok(described(&mut answer, &tag, expires).body(SizedStream::new(size, pieces)))
}

/// What is said of a picture whether or not it is sent.
fn described<'a>(
    answer: &'a mut HttpResponseBuilder,
    tag: &EntityTag,
    expires: SystemTime,
) -> &'a mut HttpResponseBuilder {
    let left = expires.duration_since(SystemTime::now()).unwrap_or_default().as_secs();
    answer
        .insert_header((header::CACHE_CONTROL, format!("private, max-age={left}")))
        .insert_header((header::ETAG, tag.to_string()))
        .insert_header((header::ACCEPT_RANGES, "bytes"))
        // A file that were no picture after all could do nothing with it.
        .insert_header((header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox"))
}

fn is_among(tag: &EntityTag, known: &IfNoneMatch) -> bool {
    match known {
        IfNoneMatch::Any => true,
        IfNoneMatch::Items(known) => known.iter().any(|known| known.weak_eq(tag)),
    }
}

/// The first and the last byte that are asked for; `None`: all. More than one part, and what is no part of a file, is
/// answered with all of it, as HTTP allows.
fn part(request: &HttpRequest, tag: &EntityTag, length: u64) -> Result<Option<(u64, u64)>, ApiError> {
    let is_current = match IfRange::parse(request) {
        Ok(IfRange::EntityTag(known)) => known.strong_eq(tag),
        Ok(IfRange::Date(_)) => false,
        Err(_) => !request.headers().contains_key(header::IF_RANGE),
    };
    let Ok(Range::Bytes(parts)) = Range::parse(request) else { return Ok(None) };
    let ([part], true) = (parts.as_slice(), is_current) else { return Ok(None) };
    ByteRangeSpec::to_satisfiable_range(part, length).map(Some).ok_or_else(|| {
        let detail = format!("the picture has {length} bytes");
        ApiError::new(Code::RangeNotSatisfiable, detail, "ask for a part that there is")
            .with_header("content-range", format!("bytes */{length}"))
    })
}

/// The beginning of a name and its ending: enough to tell files apart, too little to fetch one.
pub(super) fn short(name: &str) -> String {
    let ending = name.rsplit_once('.').map(|(_, ending)| format!(".{ending}"));
    name.chars().take(8).collect::<String>() + &ending.unwrap_or_default()
}
