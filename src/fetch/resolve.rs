//! From names to addresses, and the guard between the two and the connection: what was checked is what is connected to.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;

/// What names mean.
#[async_trait]
pub trait Resolve: Send + Sync {
    /// Every address of `name`, in the order in which they should be tried.
    ///
    /// # Errors
    /// When there is none, or none could be asked for.
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// What the system says.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

#[async_trait]
impl Resolve for SystemResolver {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect())
    }
}

/// Why a name leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    /// An address of it is not public.
    #[error("the name resolves to an address that is not public")]
    Forbidden,
    /// It has no address.
    #[error("the name does not resolve")]
    Unresolved,
}

/// The resolver of a client. The client connects to what it answers without asking again, so that a name that means
/// something else a moment later gains nothing.
pub(super) struct Guard {
    pub inner: Arc<dyn Resolve>,
    /// Which addresses may be connected to; absent: all.
    pub may: Option<fn(IpAddr) -> bool>,
}

impl reqwest::dns::Resolve for Guard {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let (inner, may) = (Arc::clone(&self.inner), self.may);
        Box::pin(async move {
            let found = inner.resolve(name.as_str()).await.map_err(|_| Refused::Unresolved)?;
            if found.is_empty() {
                return Err(Refused::Unresolved.into());
            }
            // One bad address condemns the name: who mixes them is either up to something or inside of a split network,
            // and the same URL must not pass or fail by which address happens to be tried.
            if !found.iter().all(|address| may.is_none_or(|may| may(*address))) {
                return Err(Refused::Forbidden.into());
            }
            let addresses: reqwest::dns::Addrs = Box::new(found.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}
