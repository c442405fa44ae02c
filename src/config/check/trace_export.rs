//! `[traces]`: where spans go, and of which calls.

use http::Uri;

use crate::config::ConfigKey;
use crate::config::check::checker::ConfigChecker;
use crate::config::raw::RawConfig;
use crate::config::values;
use crate::trace_export::Settings;

/// What we are called in the traces unless the file says otherwise.
const DEFAULT_SERVICE_NAME: &str = "sms-sidecar";
/// Where the backend says nothing, every call is traced: messages are few beside other requests.
const DEFAULT_SAMPLE: f64 = 1.0;

pub(super) fn traces(judge: &mut ConfigChecker<'_>, file: &RawConfig) -> Option<Settings> {
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
        judge.error(
            word.span(),
            "this is no share of the calls",
            "write a number from 0.0 (none) to 1.0 (all)",
        );
    }
    if raw.endpoint.is_none() {
        let help = "add `endpoint = \"http://127.0.0.1:4318\"`, the base URL of a collector that takes OTLP over HTTP";
        judge.error(table.span(), "`endpoint` is missing here", help);
    }
    if let Some(word) = &raw.ca_file {
        judge.record_span(ConfigKey::TracesCaFile, word.span());
    }
    Some(Settings {
        endpoint: judge.parse_or(raw.endpoint.as_ref(), Uri::default(), values::collector_url),
        sample_ratio: sample,
        service_name: judge.parse_or(
            raw.service_name.as_ref(),
            DEFAULT_SERVICE_NAME.to_owned(),
            values::service_name,
        ),
        ca_file: raw.ca_file.as_ref().map(|word| judge.path(word)),
    })
}
