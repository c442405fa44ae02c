//! One post to a webhook: its URL, the request, and what a reply means. Errors name neither the URL nor
//! the text of a reply, because a chat's URL is a secret.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};

use crate::dialect::{ProviderRequest, Reply};
use crate::net::upstream::ExchangeError;
use crate::secret::SecretString;
use crate::sms::Cause;
use crate::vault::CredentialRef;

/// The name of the URL in a vault's entry.
pub const WEBHOOK_FIELD: &str = "webhook";

/// Where notifications are posted.
#[derive(Clone, Debug)]
pub enum Webhook {
    /// The URL is in the config.
    Url(SecretString),
    /// It is in a vault, in the field [`WEBHOOK_FIELD`].
    Vault(CredentialRef),
}

/// Why a text is not the URL of a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidWebhook {
    /// What is wrong, without the text.
    pub problem: &'static str,
    /// What to write.
    pub help: &'static str,
}

/// Reads the URL of a webhook. Plain HTTP is allowed to this host, and elsewhere by `insecure_http`.
pub fn parse_webhook(text: &str, insecure_http: bool) -> Result<Uri, InvalidWebhook> {
    let invalid = |problem, help| InvalidWebhook { problem, help };
    let url: Option<Uri> = text.trim().parse().ok();
    let url = url.filter(|url| {
        let is_known = matches!(url.scheme_str(), Some("http" | "https"));
        is_known && url.host().is_some_and(|host| !host.is_empty())
    });
    let Some(url) = url else {
        let help = "write the whole URL that the receiver gave you: \"https://host/path\"";
        return Err(invalid("the webhook is not a URL", help));
    };
    let authority = url.authority();
    if authority.is_some_and(|authority| authority.as_str().contains('@')) {
        let help = "remove them: the sidecar sends no password to a webhook";
        return Err(invalid(
            "a webhook cannot contain a user or a password",
            help,
        ));
    }
    if url.scheme_str() == Some("http") && !insecure_http && !url.host().is_some_and(is_loopback) {
        let help = "use https, or set `insecure_http = true` if you trust the network in between";
        return Err(invalid(
            "notifications would travel unencrypted to this URL",
            help,
        ));
    }
    Ok(url)
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// A notification that was not delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostError {
    /// What happened and what to do.
    pub message: String,
    /// Whether it may succeed next time.
    pub is_retryable: bool,
    /// The delay that the receiver requested.
    pub retry_after: Option<Duration>,
    /// Whether the URL may have been replaced by another one.
    pub suspects_url: bool,
}

impl PostError {
    /// A failure that a retry would only repeat.
    pub(super) fn permanent(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            is_retryable: false,
            retry_after: None,
            suspects_url: false,
        }
    }

    /// It may succeed next time.
    pub(super) fn retryable(message: impl Into<String>) -> Self {
        Self {
            is_retryable: true,
            ..Self::permanent(message)
        }
    }
}

/// Reads the webhook's URL from its text.
pub(super) fn read_url(text: &str, insecure_http: bool) -> Result<Uri, PostError> {
    parse_webhook(text, insecure_http)
        .map_err(|wrong| PostError::permanent(format!("{}: {}", wrong.problem, wrong.help)))
}

pub(super) fn build_request(url: Uri, body: Bytes, version: &str) -> ProviderRequest {
    let mut headers = HeaderMap::new();
    let json = HeaderValue::from_static("application/json; charset=utf-8");
    headers.insert(CONTENT_TYPE, json);
    let agent = concat!(env!("CARGO_PKG_NAME"), "/");
    if let Ok(agent) = HeaderValue::try_from(format!("{agent}{version}")) {
        headers.insert(USER_AGENT, agent);
    }
    ProviderRequest {
        method: Method::POST,
        url,
        headers,
        body,
    }
}

/// Whether the receiver has the notification. One that may have arrived is sent again: a duplicate is
/// better than a loss.
pub(super) fn read_reply(reply: Result<Reply, ExchangeError>) -> Result<(), PostError> {
    let reply = match reply {
        Err(ExchangeError::BodyLost { head, .. }) => *head,
        other => other.map_err(exchange_error)?,
    };
    let status = reply.status;
    if status.is_success() {
        return Ok(());
    }
    let is_busy = matches!(
        status,
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
    );
    let suspects_url = matches!(status.as_u16(), 401 | 403 | 404 | 410);
    let advice = match status.as_u16() {
        300..=399 => "; redirects are not followed: write the URL that it leads to",
        _ if suspects_url => "; the URL is wrong or was revoked: create a new one at the receiver",
        400..=499 if !is_busy => "; compare `format` and `chat_id` with what the receiver expects",
        _ => "",
    };
    Err(PostError {
        message: format!("the receiver answers {}{advice}", status.as_u16()),
        is_retryable: is_busy || status.is_server_error(),
        retry_after: reply.retry_after(),
        suspects_url,
    })
}

/// A reply that cannot be read is one all the same.
pub(super) fn exchange_error(error: ExchangeError) -> PostError {
    match error {
        ExchangeError::Unknown {
            cause: Cause::ReplyUnreadable,
            detail,
        } => PostError::permanent(detail),
        ExchangeError::Unsent { detail, .. }
        | ExchangeError::Unknown { detail, .. }
        | ExchangeError::BodyLost { detail, .. } => PostError::retryable(detail),
    }
}
