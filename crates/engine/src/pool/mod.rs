//! Networks that are built, by what they are built from, so that two models with the same part share it. A pipeline
//! leases what it computes with; nobody writes to a network. One pool belongs to one device and so to one thread.

use std::any::Any;
use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Deref;
use std::rc::Rc;

use tch::{Device, Kind};

use crate::parts::{Part, PartKey};
use crate::weights::WeightMap;
use crate::{Error, Result};

/// Something that is built from a part.
pub trait Network: Sized + 'static {
    /// Builds it: takes the weights that it needs, and checks their shapes.
    fn open(part: &Part, weights: &WeightMap) -> Result<Self>;

    /// Whether a tensor that it did not take is of no use to anyone.
    fn is_known_spare(_name: &str) -> bool {
        false
    }
}

/// The networks of one device.
#[derive(Debug)]
pub struct Pool {
    device: Device,
    held: RefCell<HashMap<(PartKey, Kind), Held>>,
}

/// A network that is built, whatever it is.
#[derive(Debug, Clone)]
struct Held {
    network: Rc<dyn Any>,
    warnings: Rc<[String]>,
}

/// The use of a network. While there is one, the network stays.
#[derive(Debug)]
pub struct Lease<N> {
    network: Rc<N>,
    warnings: Rc<[String]>,
}

impl<N> Deref for Lease<N> {
    type Target = N;

    fn deref(&self) -> &N {
        &self.network
    }
}

impl<N> Lease<N> {
    /// What is odd about its weights, though it can be used.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

impl Pool {
    /// An empty pool.
    pub fn new(device: Device) -> Self {
        Self { device, held: RefCell::default() }
    }

    /// Where its networks are.
    pub fn device(&self) -> Device {
        self.device
    }

    /// The network of `part` that computes in `kind`, built if it is not there.
    pub fn lease<N: Network>(&self, part: &Part, kind: Kind) -> Result<Lease<N>> {
        let key = (part.key(), kind);
        let known = self.held.borrow().get(&key).cloned();
        let held = match known {
            Some(held) => held,
            None => {
                let weights = WeightMap::of(part, self.device, kind)?;
                let network: Rc<dyn Any> = Rc::new(N::open(part, &weights)?);
                let warnings = weights.left_over(N::is_known_spare).into_iter().collect();
                let held = Held { network, warnings };
                self.held.borrow_mut().insert(key, held.clone());
                held
            }
        };
        let network = held.network.downcast().map_err(|_| Error::internal("a part is used as two networks"))?;
        Ok(Lease { network, warnings: held.warnings })
    }

    /// Lets go of every network that nobody uses.
    pub fn clear(&self) {
        self.held.borrow_mut().retain(|_, held| Rc::strong_count(&held.network) > 1);
    }
}
