//! How often one caller may ask: an address until there are keys.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::{Error, web};
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota};

use super::State;
use super::error::{ApiError, Code};

/// The limit of each caller; `None`: any number of requests.
#[derive(Debug)]
pub struct RateLimit {
    limiter: Option<DefaultKeyedRateLimiter<IpAddr>>,
}

impl RateLimit {
    /// So many requests in a minute, and so many at once; 0 in a minute is no limit.
    pub fn new(per_minute: u32, burst: u32) -> Self {
        let limiter = NonZeroU32::new(per_minute).map(|per_minute| {
            let burst = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
            DefaultKeyedRateLimiter::keyed(Quota::per_minute(per_minute).allow_burst(burst))
        });
        Self { limiter }
    }

    /// Forgets callers that have not been here for so long that it makes no difference.
    pub fn forget_idle(&self) {
        if let Some(limiter) = &self.limiter {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
    }

    fn check(&self, caller: IpAddr) -> Result<(), ApiError> {
        let Some(limiter) = &self.limiter else { return Ok(()) };
        limiter.check_key(&key(caller)).map_err(|until| {
            let wait = until.wait_time_from(DefaultClock::default().now());
            let hint = "wait as long as Retry-After says; [limits] requests_per_minute and burst set the limit";
            ApiError::new(Code::RateLimited, "this address has made too many requests", hint)
                .with_retry_after(Some(wait))
        })
    }
}

/// One caller, until there are keys: an IPv4 address, or the /64 that an IPv6 host can choose its addresses from.
pub(super) fn key(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
    }
}

/// The middleware itself. Questions about health are never refused.
pub async fn limit_caller(
    state: web::Data<State>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let limited = request.path().starts_with("/api/");
    if let Some(address) = request.peer_addr().filter(|_| limited)
        && let Err(error) = state.rate_limit.check(address.ip())
    {
        return Ok(request.error_response(error));
    }
    Ok(next.call(request).await?.map_into_boxed_body())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED))
    }

    #[test]
    fn an_ipv6_network_is_one_caller_and_a_mapped_address_is_its_ipv4() {
        assert_eq!(key(ip("2001:db8::1")), key(ip("2001:db8::ffff:1")));
        assert_ne!(key(ip("2001:db8::1")), key(ip("2001:db8:0:1::1")));
        assert_eq!(key(ip("::ffff:10.0.0.1")), ip("10.0.0.1"));
        assert_ne!(key(ip("10.0.0.1")), key(ip("10.0.0.2")));
    }

    #[test]
    fn a_caller_past_its_burst_waits_and_others_do_not() {
        let limit = RateLimit::new(1, 2);
        assert!(limit.check(ip("10.0.0.1")).is_ok());
        assert!(limit.check(ip("10.0.0.1")).is_ok());
        let refused = limit.check(ip("10.0.0.1")).err().and_then(|error| error.told.retry_after);
        assert!(refused.is_some_and(|wait| wait.as_secs() > 30), "{refused:?}");
        assert!(limit.check(ip("10.0.0.2")).is_ok());
        assert!(RateLimit::new(0, 1).check(ip("10.0.0.1")).is_ok());
    }
}
