//! OTLP over HTTP: builds the request to a collector and interprets its reply. Pure.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

use crate::dialect::{ProviderRequest, Reply};
use crate::net::upstream::ExchangeError;
use crate::telemetry::SpanDropReason;

/// The sidecar's name in requests and spans.
const PACKAGE_NAME: &str = env!("CARGO_PKG_NAME");

/// A batch that was not delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ExportError {
    pub(super) loss: SpanDropReason,
    /// For operators; contains no text from the collector.
    pub(super) message: String,
    /// The collector certainly did not accept it, and may accept it next time.
    pub(super) is_retryable: bool,
    /// The delay that the collector requested.
    pub(super) retry_after: Option<Duration>,
}

impl ExportError {
    pub(super) fn permanent(message: String) -> Self {
        Self {
            loss: SpanDropReason::Failed,
            message,
            is_retryable: false,
            retry_after: None,
        }
    }
}

/// Encodes spans as the body of one request.
pub(super) fn encode_request(spans: Vec<Span>, service: &str, version: &str) -> Bytes {
    let attributes = vec![
        attribute("service.name", service),
        attribute("service.version", version),
    ];
    let scope = InstrumentationScope {
        name: PACKAGE_NAME.to_owned(),
        version: version.to_owned(),
        ..InstrumentationScope::default()
    };
    let scope_spans = vec![ScopeSpans {
        scope: Some(scope),
        spans,
        ..ScopeSpans::default()
    }];
    let resource = Some(Resource {
        attributes,
        ..Resource::default()
    });
    let whole = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource,
            scope_spans,
            ..ResourceSpans::default()
        }],
    };
    whole.encode_to_vec().into()
}

fn attribute(key: &str, value: &str) -> KeyValue {
    let value = AnyValue {
        value: Some(Value::StringValue(value.to_owned())),
    };
    KeyValue {
        key: key.to_owned(),
        value: Some(value),
        ..KeyValue::default()
    }
}

/// Builds the request. `endpoint` is a base URL; traces are sent to a path below it.
pub(super) fn build_request(
    endpoint: &Uri,
    body: Bytes,
    version: &str,
) -> Result<ProviderRequest, ExportError> {
    let unusable =
        |_| ExportError::permanent(format!("{endpoint} makes no URL with /v1/traces below it"));
    let url = format!("{}/v1/traces", endpoint.to_string().trim_end_matches('/'))
        .parse()
        .map_err(unusable)?;
    let mut headers = HeaderMap::new();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/x-protobuf"),
    );
    if let Ok(agent) = HeaderValue::try_from(format!("{PACKAGE_NAME}/{version}")) {
        headers.insert(USER_AGENT, agent);
    }
    Ok(ProviderRequest {
        method: Method::POST,
        url,
        headers,
        body,
    })
}

/// Interprets the reply: how many of the spans were rejected, or why none was accepted.
pub(super) fn parse_reply(
    endpoint: &Uri,
    reply: Result<Reply, ExchangeError>,
) -> Result<usize, ExportError> {
    let reply = match reply {
        Ok(reply) => reply,
        Err(ExchangeError::BodyLost { head, .. }) => *head,
        Err(ExchangeError::Unsent { detail, .. }) => {
            return Err(ExportError {
                is_retryable: true,
                ..ExportError::permanent(detail)
            });
        }
        // The collector may have accepted it. A missing span is noticeable, but a duplicate one misleads.
        Err(ExchangeError::Unknown { detail, .. }) => return Err(ExportError::permanent(detail)),
    };
    if reply.status.is_success() {
        // A collector whose success reply cannot be read has accepted them all the same.
        let partial = ExportTraceServiceResponse::decode(reply.body)
            .ok()
            .and_then(|response| response.partial_success);
        return Ok(partial
            .and_then(|partial| usize::try_from(partial.rejected_spans).ok())
            .unwrap_or_default());
    }
    let again = [
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::BAD_GATEWAY,
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::GATEWAY_TIMEOUT,
    ];
    let again = again.contains(&reply.status);
    let what = format!(
        "the collector at {endpoint} answers {}",
        reply.status.as_u16()
    );
    let loss = if reply.status.is_client_error() && !again {
        SpanDropReason::Rejected
    } else {
        SpanDropReason::Failed
    };
    Err(ExportError {
        loss,
        message: what,
        is_retryable: again,
        retry_after: reply.retry_after(),
    })
}
