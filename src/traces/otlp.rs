//! OTLP over HTTP: what is asked of a collector, and what its answer means. Pure.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

use crate::dialect::{Outgoing, Reply};
use crate::net::upstream::Lost;
use crate::telemetry::Loss;

/// Our name in requests and spans.
const NAME: &str = env!("CARGO_PKG_NAME");

/// A batch that was not delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) loss: Loss,
    /// For ops; nothing that the collector wrote.
    pub(super) what: String,
    /// It was surely not taken, and may be next time.
    pub(super) again: bool,
    /// How long the collector wants to be left alone.
    pub(super) wait: Option<Duration>,
}

impl Trouble {
    pub(super) fn lost(what: String) -> Self {
        Self { loss: Loss::Failed, what, again: false, wait: None }
    }
}

/// Spans as the bytes of one request.
pub(super) fn request(spans: Vec<Span>, service: &str, version: &str) -> Bytes {
    let attributes = vec![attribute("service.name", service), attribute("service.version", version)];
    let scope = InstrumentationScope { name: NAME.to_owned(), version: version.to_owned(), ..InstrumentationScope::default() };
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() }];
    let resource = Some(Resource { attributes, ..Resource::default() });
    let whole = ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }] };
    whole.encode_to_vec().into()
}

fn attribute(key: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(Value::StringValue(value.to_owned())) };
    KeyValue { key: key.to_owned(), value: Some(value), ..KeyValue::default() }
}

/// The request itself: `endpoint` is a base URL, what traces are sent to stands below it.
pub(super) fn outgoing(endpoint: &Uri, body: Bytes, version: &str) -> Result<Outgoing, Trouble> {
    let unusable = |_| Trouble::lost(format!("{endpoint} makes no URL with /v1/traces below it"));
    let url = format!("{}/v1/traces", endpoint.to_string().trim_end_matches('/')).parse().map_err(unusable)?;
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
    if let Ok(agent) = HeaderValue::try_from(format!("{NAME}/{version}")) {
        headers.insert(USER_AGENT, agent);
    }
    Ok(Outgoing { method: Method::POST, url, headers, body })
}

/// What came back: how many of the spans were refused, or why none was taken.
pub(super) fn read(endpoint: &Uri, reply: Result<Reply, Lost>) -> Result<usize, Trouble> {
    let reply = reply.map_err(|lost| match lost {
        Lost::Unsent { detail, .. } => Trouble { again: true, ..Trouble::lost(detail) },
        // It may have been taken: a span that is missing is seen to be, one that is there twice misleads.
        Lost::Unknown { detail, .. } => Trouble::lost(detail),
    })?;
    if reply.status.is_success() {
        // One that says nothing we can read took them all the same.
        let partial = ExportTraceServiceResponse::decode(reply.body).ok().and_then(|response| response.partial_success);
        return Ok(partial.and_then(|partial| usize::try_from(partial.rejected_spans).ok()).unwrap_or_default());
    }
    let again = [StatusCode::TOO_MANY_REQUESTS, StatusCode::BAD_GATEWAY, StatusCode::SERVICE_UNAVAILABLE, StatusCode::GATEWAY_TIMEOUT];
    let again = again.contains(&reply.status);
    let what = format!("the collector at {endpoint} answers {}", reply.status.as_u16());
    let loss = if reply.status.is_client_error() && !again { Loss::Refused } else { Loss::Failed };
    Err(Trouble { loss, what, again, wait: wait(&reply.headers) })
}

/// A Retry-After in seconds; as a date it is as good as none, for a pause of ours stands in.
fn wait(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}
