//! The models that the stand-in offers and what each one takes, as far as its vendor documents it.

/// One model.
#[derive(Debug)]
pub(crate) struct Model {
    /// Its id on the wire.
    pub id: &'static str,
    /// Which rules it follows.
    pub family: Family,
}

/// Models that take the same parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// `gpt-image-1*`: three sizes, base64 only.
    GptImage1,
    /// `gpt-image-2` and later: free sizes within bounds, base64 only.
    GptImage2,
    /// `dall-e-2`: three squares, addresses by default.
    DallE2,
    /// `dall-e-3`: three sizes, one picture, addresses by default.
    DallE3,
    /// A compatible server: any size, any further parameter, base64 by default.
    Compatible,
}

/// The size of pictures for which nothing is said: the same for all of them.
pub(crate) const DEFAULT_SIZE: (u32, u32) = (1024, 1024);

/// All of them; the first one serves requests that name none.
pub(crate) const MODELS: &[Model] = &[
    Model { id: "gpt-image-1.5", family: Family::GptImage1 },
    Model { id: "gpt-image-1", family: Family::GptImage1 },
    Model { id: "gpt-image-1-mini", family: Family::GptImage1 },
    Model { id: "gpt-image-2", family: Family::GptImage2 },
    Model { id: "gpt-image-2.5-flare", family: Family::GptImage2 },
    Model { id: "gpt-image-2.5-sunburst", family: Family::GptImage2 },
    Model { id: "gpt-image-2.6-flare", family: Family::GptImage2 },
    Model { id: "gpt-image-2.6-sunburst", family: Family::GptImage2 },
    Model { id: "chatgpt-image-latest", family: Family::GptImage2 },
    Model { id: "dall-e-2", family: Family::DallE2 },
    Model { id: "dall-e-3", family: Family::DallE3 },
    Model { id: "sim-any", family: Family::Compatible },
];

impl Family {
    /// Parameters besides `prompt`, `model`, `n`, `size` and `user`.
    pub fn further_parameters(self) -> &'static [&'static str] {
        match self {
            Self::GptImage1 | Self::GptImage2 => &[
                "quality",
                "background",
                "output_format",
                "output_compression",
                "moderation",
                "stream",
                "partial_images",
                "safety_identifier",
            ],
            Self::DallE2 => &["quality", "response_format"],
            Self::DallE3 => &["quality", "response_format", "style"],
            Self::Compatible => &[],
        }
    }

    /// The words for quality that it takes; any where the list is empty.
    pub fn qualities(self) -> &'static [&'static str] {
        match self {
            Self::GptImage1 => &["low", "medium", "high", "auto"],
            Self::GptImage2 => &["low", "medium", "high", "auto", "xhigh", "max"],
            Self::DallE2 => &["standard"],
            Self::DallE3 => &["standard", "hd"],
            Self::Compatible => &[],
        }
    }

    /// Whether it changes pictures.
    pub fn edits(self) -> bool {
        self != Self::DallE3
    }

    /// Whether pictures come as addresses when nothing is said.
    pub fn gives_addresses(self) -> bool {
        matches!(self, Self::DallE2 | Self::DallE3)
    }

    /// Whether the answer says what was used, as GPT Image does.
    pub fn reports_usage(self) -> bool {
        matches!(self, Self::GptImage1 | Self::GptImage2)
    }

    pub fn most_pictures(self) -> u64 {
        if self == Self::DallE3 { 1 } else { 10 }
    }

    pub fn longest_prompt(self) -> usize {
        match self {
            Self::GptImage1 | Self::GptImage2 | Self::Compatible => 32_000,
            Self::DallE2 => 1_000,
            Self::DallE3 => 4_000,
        }
    }

    /// The sizes it takes, if they are a list.
    pub fn sizes(self) -> Option<&'static [(u32, u32)]> {
        match self {
            Self::GptImage1 => Some(&[(1024, 1024), (1536, 1024), (1024, 1536)]),
            Self::DallE2 => Some(&[(256, 256), (512, 512), (1024, 1024)]),
            Self::DallE3 => Some(&[(1024, 1024), (1792, 1024), (1024, 1792)]),
            Self::GptImage2 | Self::Compatible => None,
        }
    }

    /// Why this size is refused, in the vendor's words.
    pub fn refuse_size(self, size: (u32, u32)) -> Option<String> {
        let (width, height) = size;
        if let Some(sizes) = self.sizes() {
            let list: Vec<String> = sizes.iter().map(|(width, height)| format!("'{width}x{height}'")).collect();
            let message = format!("Invalid value: '{width}x{height}'. Supported values are: {}.", list.join(", "));
            return (!sizes.contains(&size)).then_some(message);
        }
        let reason = match self {
            Self::GptImage2 if !width.is_multiple_of(16) || !height.is_multiple_of(16) => {
                "Width and height must both be divisible by 16."
            }
            Self::GptImage2 if width.max(height) > 3840 => "The longest edge must be less than or equal to 3840.",
            Self::GptImage2 if width.max(height) > 3 * width.min(height) => "The ratio must be within 1:3 and 3:1.",
            Self::GptImage2 if !(655_360..=8_294_400).contains(&(u64::from(width) * u64::from(height))) => {
                "The number of pixels must be between 655360 and 8294400."
            }
            Self::Compatible if width.max(height) > 4096 || width.min(height) < 1 => {
                "Edges must be between 1 and 4096."
            }
            Self::GptImage1 | Self::GptImage2 | Self::DallE2 | Self::DallE3 | Self::Compatible => {
                return None;
            }
        };
        Some(format!("Invalid size '{width}x{height}'. {reason}"))
    }
}

/// The model of this id.
pub(crate) fn find(id: &str) -> Option<&'static Model> {
    MODELS.iter().find(|model| model.id == id)
}
