//! Pictures for answers, and what faults make of them; and the addresses at which they can be fetched.

use std::fmt::Write as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::http::{Reply, Request};
use crate::picture::{Drawing, Format};
use crate::state::State;
use crate::{Behaviour, Fault, Picture};

/// What a request asks for, in any vendor's words.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    /// Decides what the pictures show, together with the behaviour's seed.
    pub subject: String,
    pub count: u32,
    pub size: (u32, u32),
    pub format: Format,
    /// Whether pictures have an alpha channel.
    pub alpha: bool,
    /// Whether pictures are named by their addresses.
    pub addresses: bool,
    /// What addresses begin with.
    pub origin: String,
}

/// One picture of an answer.
#[derive(Debug, Clone)]
pub(crate) enum Item {
    Base64(Arc<str>),
    Address(String),
    Nothing,
}

/// The pictures, or what the fault makes of them.
pub(crate) fn make(wish: &Wish, behaviour: &Behaviour, fault: Option<Fault>, state: &State) -> Vec<Item> {
    let count = match fault {
        Some(Fault::EmptyData) => return Vec::new(),
        Some(Fault::EmptyItem) => return vec![Item::Nothing],
        Some(Fault::FewerPictures | Fault::PartlyFailed) => wish.count.saturating_sub(1),
        Some(Fault::MorePictures) => wish.count + 1,
        _ => wish.count,
    };
    (0..count).map(|index| item(wish, behaviour, fault, state, index)).collect()
}

/// One picture, or what the fault makes of it.
pub(crate) fn item(wish: &Wish, behaviour: &Behaviour, fault: Option<Fault>, state: &State, index: u32) -> Item {
    let (mut width, height) = wish.size;
    if fault == Some(Fault::WrongSize) {
        width += 8;
    }
    let subject = Picture::subject(&wish.subject, behaviour.seed, index);
    let picture = Picture { width, height, subject, bytes: behaviour.bytes };
    let drawing = Drawing { picture, format: wish.format, alpha: wish.alpha };
    if wish.addresses || fault.is_some_and(Fault::gives_addresses) {
        return Item::Address(address(&drawing, fault, &wish.origin));
    }
    Item::Base64(match fault {
        Some(Fault::InvalidBase64) => Arc::from("this is *not* base64!"),
        Some(fault) if spoils(fault) => Arc::from(BASE64.encode(spoil(fault, drawing.encode()))),
        _ => state.drawn(drawing),
    })
}

fn spoils(fault: Fault) -> bool {
    matches!(fault, Fault::NotAPicture | Fault::HalfPicture | Fault::CorruptPicture)
}

fn spoil(fault: Fault, mut file: Vec<u8>) -> Vec<u8> {
    let middle = file.len() / 2;
    if fault == Fault::NotAPicture {
        return b"this is not a picture".to_vec();
    }
    if fault == Fault::HalfPicture {
        file.truncate(middle);
    }
    if fault == Fault::CorruptPicture
        && let Some(byte) = file.get_mut(middle)
    {
        *byte ^= 0x10;
    }
    file
}

fn address(drawing: &Drawing, fault: Option<Fault>, origin: &str) -> String {
    match fault {
        Some(Fault::InvalidBase64) => return "this is *not* an address!".to_owned(),
        Some(Fault::UrlPrivate(form)) => {
            let all = Fault::private_addresses();
            return all.get(usize::from(form) % all.len()).copied().unwrap_or_default().to_owned();
        }
        _ => {}
    }
    let told = fault.filter(|fault| fault.gives_addresses() || spoils(*fault));
    let told = told.filter(|fault| *fault != Fault::UrlInsteadOfBase64);
    let mut url = format!("{origin}/pictures/");
    if let Some(fault) = told {
        let _ = write!(url, "{fault}/");
    }
    url + &drawing.name()
}

/// `GET /pictures/[FAULT/]NAME`, as given out in an answer: the reply, and what goes wrong on the wire.
pub(crate) fn serve(request: &Request, state: &State) -> Option<(Reply, Option<Fault>)> {
    let rest = request.route().strip_prefix("/pictures/")?;
    let (fault, name) = match rest.split_once('/') {
        Some((fault, name)) => (Some(fault.parse::<Fault>().ok()?), name),
        None => (None, rest),
    };
    let drawing = Drawing::from_name(name)?;
    let redirect = |to: String| Reply::new(302, "text/html", "").with_header("location", to);
    let picture = |file| Reply::new(200, drawing.format.mime(), file);
    let plain = format!("/pictures/{name}");
    Some(match fault {
        None => (picture(drawing.encode()), None),
        Some(Fault::UrlExpired(status)) => {
            let body = "<?xml version=\"1.0\"?><Error><Code>NoSuchKey</Code></Error>";
            (Reply::new(status, "application/xml", body), None)
        }
        Some(Fault::UrlRedirect(form)) => match form % 4 {
            0 => (redirect(plain), None),
            1 => (redirect(Fault::private_addresses().first().copied().unwrap_or_default().to_owned()), None),
            2 => (redirect(request.path.clone()), None),
            _ => (redirect(format!("http://localhost:{}{plain}", state.address().port())), None),
        },
        Some(Fault::UrlHang) => (picture(drawing.encode()), Some(Fault::Hang)),
        Some(Fault::UrlDrip(rate)) => (picture(drawing.encode()), Some(Fault::Drip(rate))),
        Some(Fault::UrlReset) => (picture(drawing.encode()), Some(Fault::Reset)),
        Some(Fault::UrlHtml) => (Reply::new(200, "text/html; charset=utf-8", "<html><h1>Gone</h1></html>"), None),
        Some(Fault::UrlEndless) => (picture(drawing.encode()), Some(Fault::UrlEndless)),
        Some(fault) => (picture(spoil(fault, drawing.encode())), None),
    })
}
