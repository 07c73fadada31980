//! What is counted, and how it reads.

use std::time::Duration;

use super::{Metrics, OTHER};

#[track_caller]
fn has(text: &str, line: &str) {
    assert!(text.lines().any(|found| found == line), "{line}\nis not in\n{text}");
}

#[tokio::test(start_paused = true)]
async fn a_providers_turns_are_counted_by_what_became_of_them() {
    let metrics = Metrics::new();
    let provider = metrics.provider("cloud");
    provider.begin("m").ended("ok");
    provider.begin("m").ended("timeout");
    drop(provider.begin(OTHER));
    let lasting = provider.begin("m");
    provider.count_calls("m", 3);
    provider.count_cost("m", 0.25);
    provider.count_cost("m", f64::NAN);
    provider.count_cost("m", -1.0);
    provider.count_retry();
    provider.count_opened();
    provider.note_wait(Duration::from_secs(2));
    provider.set_available(true);
    provider.set_breaker(2);
    metrics.count_cache("hit");
    let text = metrics.render();
    for line in [
        "easel_provider_requests_total{provider=\"cloud\",model=\"m\",outcome=\"ok\"} 1",
        "easel_provider_requests_total{provider=\"cloud\",model=\"m\",outcome=\"timeout\"} 1",
        "easel_provider_requests_total{provider=\"cloud\",model=\"other\",outcome=\"cancelled\"} 1",
        "easel_provider_requests_in_flight{provider=\"cloud\"} 1",
        "easel_provider_upstream_calls_total{provider=\"cloud\",model=\"m\"} 3",
        "easel_provider_cost_usd_total{provider=\"cloud\",model=\"m\"} 0.25",
        "easel_provider_retries_total{provider=\"cloud\"} 1",
        "easel_provider_breaker_opened_total{provider=\"cloud\"} 1",
        "easel_provider_breaker_state{provider=\"cloud\"} 2",
        "easel_provider_available{provider=\"cloud\"} 1",
        "easel_provider_wait_seconds_count{provider=\"cloud\"} 1",
        "easel_provider_wait_seconds_sum{provider=\"cloud\"} 2.0",
        "easel_provider_request_duration_seconds_count{provider=\"cloud\",model=\"m\"} 2",
        "easel_cache_results_total{result=\"hit\"} 1",
        "# EOF",
    ] {
        has(&text, line);
    }
    drop(lasting);
    has(&metrics.render(), "easel_provider_requests_in_flight{provider=\"cloud\"} 0");
    assert!(!Metrics::new().render().contains("cloud"), "two sets of figures are two");
}

#[test]
fn every_figure_says_what_it_is() {
    let metrics = Metrics::new();
    drop(metrics.provider("p").begin("m"));
    let text = metrics.render();
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let name = line.split(' ').next().unwrap();
        assert!(name.starts_with("easel_"), "{name}");
        let help = text.lines().find_map(|line| line.strip_prefix(&format!("# HELP {name} ")));
        assert!(help.is_some_and(|help| help.len() > 5), "{name}");
    }
}

#[test]
fn a_request_is_counted_by_its_route_and_its_status_or_as_dropped() {
    let metrics = Metrics::new();
    metrics.http(Some("/api/image-models".to_owned())).answered(200);
    metrics.http(None).answered(404);
    drop(metrics.http(None));
    let text = metrics.render();
    has(&text, "easel_http_requests_total{route=\"/api/image-models\",status=\"200\"} 1");
    has(&text, "easel_http_requests_total{route=\"other\",status=\"404\"} 1");
    has(&text, "easel_http_requests_total{route=\"other\",status=\"dropped\"} 1");
    has(&text, "easel_http_request_duration_seconds_count{route=\"other\"} 2");
}
