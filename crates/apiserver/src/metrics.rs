//! Counters of the API server, in Prometheus' text format.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// What a request is counted by.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct RequestLabels {
    /// Verb as in discovery, or the HTTP method for other paths.
    pub verb: String,
    /// Resource with its subresource; empty for other paths.
    pub resource: String,
    /// HTTP status code.
    pub code: u16,
}

/// Adds the figures of another part of the program, as they are in the moment of the request.
pub type Figures = Box<dyn Fn(&mut Registry) + Send + Sync>;

/// Everything that is counted.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Requests over HTTP that were answered.
    pub requests: Family<RequestLabels, Counter>,
    /// Requests over HTTP that are being answered, watches included.
    pub requests_inflight: Gauge,
    /// Open watches over HTTP.
    pub watches: Gauge,
    /// Open connections.
    pub connections: Gauge,
    /// Writes that lost a race and were repeated.
    pub write_retries: Counter,
    /// Events that were forgotten because of their age.
    pub events_expired: Counter,
}

impl Metrics {
    /// The text that `/metrics` shows, the store's figures and those of other parts included.
    pub fn text(&self, store: &store::Metrics, events_waiting: usize, others: Option<&Figures>) -> String {
        let mut registry = Registry::default();
        if let Some(add) = others {
            add(&mut registry);
        }
        registry.register("apiserver_request", "Requests answered", self.requests.clone());
        registry.register(
            "apiserver_current_inflight_requests",
            "Requests being answered",
            self.requests_inflight.clone(),
        );
        registry.register("apiserver_longrunning_requests", "Open watches", self.watches.clone());
        registry.register("apiserver_connections", "Open connections", self.connections.clone());
        registry.register("apiserver_write_retries", "Writes repeated after a lost race", self.write_retries.clone());
        registry.register(
            "apiserver_events_expired",
            "Events forgotten because of their age",
            self.events_expired.clone(),
        );
        let figures: [(&str, &str, u64); 11] = [
            ("apiserver_events_to_expire", "Events that wait for their end", events_waiting as u64),
            ("store_revision", "Newest revision", store.revision),
            ("store_floor_revision", "Oldest revision that can be read", store.floor),
            ("store_keys", "Objects", store.keys as u64),
            ("store_history_events", "Changes that are remembered", store.history_events as u64),
            ("store_live_resident_bytes", "Bytes of objects in memory", store.live_resident_bytes as u64),
            ("store_quarantined_records", "Records that are corrupt", store.quarantined as u64),
            ("store_disk_bytes", "Bytes on disk", store.disk_bytes),
            ("store_queue_transactions", "Transactions that wait", store.queue as u64),
            ("store_transactions_committed", "Transactions so far", store.transactions_total),
            ("store_batches_committed", "Durable batches so far", store.batches_total),
        ];
        for (name, help, value) in figures {
            let gauge = Gauge::<u64, AtomicU64>::default();
            gauge.set(value);
            registry.register(name, help, gauge);
        }
        let mut text = String::new();
        // Writing into a String cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_other_parts_are_shown_as_they_are_when_asked() {
        let level = Gauge::<i64>::default();
        let shown = level.clone();
        let others: Figures = Box::new(move |registry| registry.register("other_level", "A level", shown.clone()));
        let line = |text: &str| text.lines().find(|line| line.starts_with("other_level ")).map(str::to_owned);
        let metrics = Metrics::default();
        level.set(7);
        let text = metrics.text(&store::Metrics::default(), 0, Some(&others));
        assert_eq!(line(&text).as_deref(), Some("other_level 7"));
        assert!(text.contains("store_revision") && text.ends_with("# EOF\n"));
        assert_eq!(line(&metrics.text(&store::Metrics::default(), 0, None)), None);
    }
}
