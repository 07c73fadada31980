//! What is counted of requests over HTTP.

use std::time::Instant;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Seconds: from a list of models to a picture made on a processor.
const BUCKETS: [f64; 12] = [0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0];

#[derive(Clone)]
pub(super) struct Families {
    requests: Family<Labels, Counter>,
    duration: Family<RouteLabels, Histogram>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    route: String,
    status: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: String,
}

impl Families {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let all =
            Self { requests: Family::default(), duration: Family::new_with_constructor(|| Histogram::new(BUCKETS)) };
        let help = "Requests over HTTP by route and status; a status of dropped is a client that left";
        registry.register("http_requests", help, all.requests.clone());
        let help = "Time from a request's head to its answer's";
        registry.register_with_unit("http_request_duration", help, Unit::Seconds, all.duration.clone());
        all
    }
}

/// A request on its way; one that is dropped before it was answered is counted as such.
pub struct HttpTurn {
    families: Families,
    route: String,
    started: Instant,
    status: Option<u16>,
}

impl HttpTurn {
    pub(super) fn new(families: &Families, route: String) -> Self {
        Self { families: families.clone(), route, started: Instant::now(), status: None }
    }

    /// It was answered.
    pub fn answered(mut self, status: u16) {
        self.status = Some(status);
    }
}

impl Drop for HttpTurn {
    fn drop(&mut self) {
        let route = std::mem::take(&mut self.route);
        let status = self.status.map_or_else(|| "dropped".to_owned(), |status| status.to_string());
        self.families
            .duration
            .get_or_create(&RouteLabels { route: route.clone() })
            .observe(self.started.elapsed().as_secs_f64());
        self.families.requests.get_or_create(&Labels { route, status }).inc();
    }
}
