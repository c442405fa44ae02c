//! `[traces]`: where spans go, and of which calls.

use http::Uri;

use crate::config::Key;
use crate::config::check::judge::Judge;
use crate::config::raw::File;
use crate::config::words;
use crate::traces::Settings;

/// What we are called in the traces unless the file says otherwise.
const SERVICE: &str = "sms-sidecar";
/// Where the backend says nothing, every call is traced: messages are few beside other requests.
const SAMPLE: f64 = 1.0;

pub(super) fn traces(judge: &mut Judge<'_>, file: &File) -> Option<Settings> {
    let table = file.traces.as_ref()?;
    let raw = table.get_ref();
    let sample = raw.sample.as_ref().map_or(SAMPLE, |share| *share.get_ref());
    if let Some(word) = raw.sample.as_ref().filter(|_| !(0.0..=1.0).contains(&sample)) {
        judge.error(word.span(), "this is no share of the calls", "write a number from 0.0 (none) to 1.0 (all)");
    }
    if raw.endpoint.is_none() {
        let help = "add `endpoint = \"http://127.0.0.1:4318\"`, the base URL of a collector that takes OTLP over HTTP";
        judge.error(table.span(), "`endpoint` is missing here", help);
    }
    if let Some(word) = &raw.ca_file {
        judge.remember(Key::TracesCaFile, word.span());
    }
    Some(Settings {
        endpoint: judge.value(raw.endpoint.as_ref(), Uri::default(), words::collector),
        sample,
        service_name: judge.value(raw.service_name.as_ref(), SERVICE.to_owned(), words::service),
        ca_file: raw.ca_file.as_ref().map(|word| judge.path(word)),
    })
}
