//! `[traces]`: where spans go, and of which requests.

use http::Uri;

use crate::config::ConfigKey;
use crate::config::checker::ConfigChecker;
use crate::config::raw::RawConfig;
use crate::config::values;
use crate::trace_export::Settings;

/// The name of this service in the traces.
const DEFAULT_SERVICE_NAME: &str = "sms-sidecar";
/// Without a decision by the backend every request is traced: messages are few beside its other requests.
const DEFAULT_SAMPLE: f64 = 1.0;

pub(super) fn traces(checker: &mut ConfigChecker<'_>, file: &RawConfig) -> Option<Settings> {
    let table = file.traces.as_ref()?;
    let raw = table.get_ref();
    let sample = raw
        .sample
        .as_ref()
        .map_or(DEFAULT_SAMPLE, |share| *share.get_ref());
    if let Some(word) = raw
        .sample
        .as_ref()
        .filter(|_| !(0.0..=1.0).contains(&sample))
    {
        checker.error(
            word.span(),
            "`sample` must be between 0.0 and 1.0",
            "write 0.0 to trace no request, 1.0 to trace all",
        );
    }
    if raw.endpoint.is_none() {
        let help = "add `endpoint = \"http://127.0.0.1:4318\"`, the base URL of a collector that accepts OTLP over HTTP";
        checker.error(table.span(), "`endpoint` is missing here", help);
    }
    if let Some(word) = &raw.ca_file {
        checker.record_span(ConfigKey::TracesCaFile, word.span());
    }
    Some(Settings {
        endpoint: checker.parse_or(raw.endpoint.as_ref(), Uri::default(), values::collector_url),
        sample_ratio: sample,
        service_name: checker.parse_or(
            raw.service_name.as_ref(),
            DEFAULT_SERVICE_NAME.to_owned(),
            values::service_name,
        ),
        ca_file: raw.ca_file.as_ref().map(|word| checker.path(word)),
    })
}
