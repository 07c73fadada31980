//! What can be in a pool: something that is built from a part, and what of the part it is built from.

use std::fmt;
use std::ops::Deref;
use std::rc::Rc;

use super::Built;
use super::known::Key;
use super::shelf::Hold;
use crate::Result;
use crate::nn::Pixels;
use crate::parts::Part;
use crate::weights::WeightMap;

/// Something that is built from a part.
///
/// Two parts whose settings are equal and whose tensors have the same roles, types, shapes and bytes give one network,
/// which then serves both. So whatever it computes with must follow from these: what a pipeline does with a config
/// beside the network (how latents are scaled) is the pipeline's, from the pipeline's own part.
pub trait Network: Sized + 'static {
    /// Builds it: takes the weights that it needs, and checks their shapes.
    fn open(part: &Part, weights: &WeightMap) -> Result<Self>;

    /// Whether the matrix of this name, or the kernels of a convolution, are used once for a picture and not at each step.
    /// On the processor they then stay in their file as they are stored, and are widened and ordered when they are used:
    /// that costs less than a run, and saves twice their size. They must be read through
    /// [`Scope::matrix`](crate::weights::Scope::matrix).
    fn is_read_once(_name: &str) -> bool {
        false
    }

    /// What the pictures of a convolution of side 3 are like, told from the name of its kernels: see [`Pixels`].
    fn pixels(_part: &Part, _name: &str) -> Pixels {
        Pixels::Few
    }

    /// Whether a tensor that it did not take is of no use to anyone.
    fn is_known_spare(_name: &str) -> bool {
        false
    }

    /// What of the part's config changes what is computed. All of it, unless the network knows better; keys that begin
    /// with an underscore are notes of the library's own.
    fn settings(part: &Part) -> Result<String> {
        let mut settings: Vec<_> = part.config.iter().filter(|(key, _)| !key.starts_with('_')).collect();
        settings.sort_by_key(|(key, _)| *key);
        let settings: Vec<_> = settings.iter().map(|(key, value)| format!("{key}={value}")).collect();
        Ok(format!("{} {}", part.class, settings.join(" ")))
    }

    /// What a tensor is to the network, where the same one goes by several names; `None` for one that it never takes.
    fn role<'a>(_part: &Part, name: &'a str) -> Option<&'a str> {
        Some(name)
    }
}

/// The use of a network. While there is one, the network stays.
pub struct Lease<N> {
    // Declared before the hold: the network is let go of before its bytes are given back.
    network: Rc<N>,
    hold: Hold<Key, Built>,
}

impl<N: 'static> Lease<N> {
    pub(super) fn of(hold: Hold<Key, Built>) -> Result<Self> {
        let network = Rc::clone(&hold.network).downcast();
        let network = network.map_err(|_| crate::Error::internal("a part is used as two networks"))?;
        Ok(Self { network, hold })
    }
}

impl<N> Lease<N> {
    /// What is odd about its weights, though it can be used.
    pub fn warnings(&self) -> &[String] {
        &self.hold.warnings
    }
}

impl<N> Deref for Lease<N> {
    type Target = N;

    fn deref(&self) -> &N {
        &self.network
    }
}

impl<N: fmt::Debug> fmt::Debug for Lease<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lease").field(&self.network).finish()
    }
}
