//! How small the picture is where a block of a UNet stands. Told from the config alone, also of a tensor by its name.

use crate::config::UNetConfig;
use crate::config::unet::BlockConfig;
use crate::nn::Pixels;

/// Halvings up to which a picture has many pixels for its channels. Where known networks have halved it twice they have
/// four times the kernels for a quarter of the pixels: little is won there for the memory it takes.
const MANY: usize = 1;

/// How often the picture has been halved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Level(usize);

impl Level {
    /// Where a block has doubled the picture.
    pub fn doubled(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// What its pictures are like.
    pub fn pixels(self) -> Pixels {
        if self.0 <= MANY { Pixels::Many } else { Pixels::Few }
    }
}

/// Of the resnets of block `i` on the way down.
pub(super) fn down(config: &UNetConfig, i: usize) -> Level {
    Level(halvings(config.down.iter().take(i)))
}

/// Of the middle.
pub(super) fn mid(config: &UNetConfig) -> Level {
    Level(halvings(config.down.iter()))
}

/// Of the resnets of block `i` on the way up.
pub(super) fn up(config: &UNetConfig, i: usize) -> Level {
    Level(halvings(config.down.iter()).saturating_sub(halvings(config.up.iter().take(i))))
}

/// Where the convolution stands whose kernels have this name; `None` outside of the blocks and for one that halves.
pub(super) fn of(config: &UNetConfig, name: &str) -> Option<Level> {
    let mut words = name.split('.');
    let block = words.next()?;
    if block == "mid_block" {
        return Some(mid(config));
    }
    let i = words.next()?.parse().ok()?;
    let what = words.next()?;
    match (block, what) {
        ("down_blocks", "resnets") => Some(down(config, i)),
        ("up_blocks", "resnets") => Some(up(config, i)),
        ("up_blocks", "upsamplers") => Some(up(config, i).doubled()),
        _ => None,
    }
}

fn halvings<'a>(blocks: impl Iterator<Item = &'a BlockConfig>) -> usize {
    blocks.filter(|block| block.resamples).count()
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::of;
    use crate::config::UNetConfig;
    use crate::nn::Pixels;

    /// diffusers' defaults: three levels that halve and one that does not, as in SD 1.5.
    #[test]
    fn names_say_how_small_the_picture_is() {
        let config = UNetConfig::read("unet", &Map::new()).unwrap();
        for (name, halvings) in [
            ("down_blocks.0.resnets.0.conv1.weight", Some(0)),
            ("down_blocks.2.resnets.1.conv2.weight", Some(2)),
            ("down_blocks.3.resnets.1.conv2.weight", Some(3)),
            ("mid_block.resnets.0.conv1.weight", Some(3)),
            ("up_blocks.0.resnets.0.conv1.weight", Some(3)),
            ("up_blocks.0.upsamplers.0.conv.weight", Some(2)),
            ("up_blocks.1.resnets.2.conv1.weight", Some(2)),
            ("up_blocks.3.resnets.2.conv1.weight", Some(0)),
            ("down_blocks.0.downsamplers.0.conv.weight", None),
            ("conv_in.weight", None),
        ] {
            let level = of(&config, name);
            assert_eq!(level.map(|level| level.0), halvings, "{name}");
            let many = halvings.is_some_and(|halvings| halvings < 2);
            assert_eq!(level.is_some_and(|level| level.pixels() == Pixels::Many), many, "{name}");
        }
    }
}
