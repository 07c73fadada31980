//! The models that make pictures, and what each of them takes.

use crate::picture::Format;

/// One model.
#[derive(Debug)]
pub(super) struct Model {
    pub id: &'static str,
    /// Values of `imageSize` with the tokens of one picture; empty where the field is not taken.
    pub sizes: &'static [(&'static str, u32)],
    /// Whether it has the extreme ratios of 3.1 flash.
    pub extreme_ratios: bool,
    /// Whether its pixels are those of 2.5 flash.
    pub is_first: bool,
    /// What it draws.
    pub format: Format,
    /// Most pictures in a request.
    pub most_images: usize,
}

const FAMILY: Model = Model {
    id: "",
    sizes: &[("1K", 1120), ("2K", 1120), ("4K", 2000)],
    extreme_ratios: false,
    is_first: false,
    format: Format::Jpeg,
    most_images: 14,
};

/// All of them.
pub(super) const MODELS: &[Model] = &[
    Model { id: "gemini-2.5-flash-image", sizes: &[], is_first: true, format: Format::Png, most_images: 3, ..FAMILY },
    Model { id: "gemini-3-pro-image", ..FAMILY },
    Model {
        id: "gemini-3.1-flash-image",
        sizes: &[("512", 747), ("1K", 1120), ("2K", 1680), ("4K", 2520)],
        extreme_ratios: true,
        ..FAMILY
    },
    Model { id: "gemini-3.1-flash-lite-image", sizes: &[("1K", 1120)], extreme_ratios: true, ..FAMILY },
    Model { id: "gemini-nano-banana-2.1", ..FAMILY },
    Model { id: "nano-banana-pro-preview", ..FAMILY },
];

impl Model {
    pub fn find(id: &str) -> Option<&'static Self> {
        MODELS.iter().find(|model| model.id == id)
    }
}
