//! A request written anew for one account: fields left to right, body encoded, signed.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::Method;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use serde_json::Value;

use crate::dialect::expr::scope::Scope;
use crate::dialect::expr::template::{ValueSource, to_text};
use crate::dialect::model::endpoint::Endpoint;
use crate::dialect::model::{BodyEncoding, FieldMapping, FieldValue, RequestTemplate};
use crate::dialect::request::sign;
use crate::dialect::wire::body;
use crate::dialect::wire::multipart;
use crate::dialect::{Account, Dialect, ProviderRequest, Untranslatable};
use crate::sms::{Cause, Message};

impl FieldValue {
    pub(crate) fn evaluate(&self, scope: &Scope<'_>) -> Option<Value> {
        match self {
            Self::Constant(value) => Some(value.clone()),
            Self::Template(template) => template.evaluate(scope),
        }
    }
}

impl Dialect {
    /// Whether this dialect can say `message` at all (limits, prefixes, template), before a credential is touched.
    pub fn check_message(&self, message: &Message) -> Result<(), Untranslatable> {
        let limits = &self.send.limits;
        let length = message.text.expose().chars().count();
        if let Some(limit) = limits.text.filter(|limit| length > *limit) {
            let why = format!(
                "the text has {length} characters, {} takes {limit}",
                self.name
            );
            return Err(Untranslatable {
                cause: Cause::MessageInvalid,
                reason: why,
            });
        }
        if !limits.recipients.is_empty()
            && !limits
                .recipients
                .iter()
                .any(|prefix| message.recipient.has_prefix(prefix))
        {
            let why = format!(
                "{} delivers to {} only",
                self.name,
                limits.recipients.join(", ")
            );
            return Err(Untranslatable {
                cause: Cause::RecipientInvalid,
                reason: why,
            });
        }
        if self.sends_templates_only()
            && message
                .template
                .as_ref()
                .is_none_or(|template| template.id.is_none())
        {
            let why = format!(
                "{} sends approved texts by their number only, and no template with one matches",
                self.name
            );
            return Err(Untranslatable {
                cause: Cause::TemplateNotApproved,
                reason: why,
            });
        }
        Ok(())
    }

    fn sends_templates_only(&self) -> bool {
        !self
            .send
            .fields
            .query
            .iter()
            .chain(&self.send.fields.body)
            .any(|field| {
                field
                    .value
                    .any_source(|source| *source == ValueSource::Text)
            })
    }

    /// Writes a message anew (a translated attempt). Fields the backend's dialect carried that are in `may_drop` are lost.
    pub fn write(
        &self,
        message: &Message,
        account: &Account<'_>,
        now: Timestamp,
    ) -> Result<ProviderRequest, Untranslatable> {
        self.check_message(message)?;
        self.check_account(account)?;
        let scope = Scope {
            message: Some(message),
            account: Some(account),
            params: &self.params,
            now: Some(now),
            ..Scope::default()
        };
        let digests = sign::digests(&self.send.digests, &scope);
        let scope = Scope {
            digests: Some(&digests),
            ..scope
        };
        let url = endpoint_url(&self.send.endpoint, account.base_url, &scope).ok_or_else(|| {
            not_translatable("the address cannot be built; see `base_url`".into())
        })?;
        let method = self
            .send
            .endpoint
            .methods
            .first()
            .cloned()
            .unwrap_or(Method::POST);
        let request = build_request(method, &url, &self.send.fields, &scope).ok_or_else(|| {
            not_translatable("a value does not go into a header or address".into())
        })?;
        self.sign_request(request, &scope)
    }

    /// Whether the account has all that this dialect needs.
    pub(crate) fn check_account(&self, account: &Account<'_>) -> Result<(), Untranslatable> {
        let missing = |what: String| {
            Err(Untranslatable {
                cause: Cause::CredentialMissing,
                reason: what,
            })
        };
        for spec in self.credential.iter().filter(|spec| spec.required) {
            if account
                .credential
                .expose(&spec.name)
                .is_none_or(str::is_empty)
            {
                return missing(format!("the vault entry has no field `{}`", spec.name));
            }
        }
        if self.token.is_some() && account.token.is_none() {
            return missing("no token was got by logging in".into());
        }
        match self
            .params
            .iter()
            .find(|spec| spec.default.is_none() && !account.params.contains_key(&spec.name))
        {
            Some(spec) => Err(not_translatable(format!(
                "the provider has no param `{}`",
                spec.name
            ))),
            None => Ok(()),
        }
    }

    pub(crate) fn sign_request(
        &self,
        mut request: ProviderRequest,
        scope: &Scope<'_>,
    ) -> Result<ProviderRequest, Untranslatable> {
        match &self.sign {
            Some(with)
                if sign::sign(with, &mut request, scope).is_none()
                    && self.credential.iter().any(|spec| spec.required) =>
            {
                Err(Untranslatable {
                    cause: Cause::CredentialMissing,
                    reason: "a credential field does not go into a header".into(),
                })
            }
            Some(_) | None => Ok(request),
        }
    }
}

/// Where a call goes: the account's base URL, or the host the call names.
pub(crate) fn endpoint_url(call: &Endpoint, base_url: &str, scope: &Scope<'_>) -> Option<String> {
    let base = call
        .origin
        .as_deref()
        .unwrap_or(base_url)
        .trim_end_matches('/');
    call.render_path(scope).map(|path| format!("{base}{path}"))
}

pub(crate) fn not_translatable(why: String) -> Untranslatable {
    Untranslatable {
        cause: Cause::NotTranslatable,
        reason: why,
    }
}

/// A request from its fields, not signed yet; none if a value does not fit into it.
pub(crate) fn build_request(
    method: Method,
    url: &str,
    fields: &RequestTemplate,
    scope: &Scope<'_>,
) -> Option<ProviderRequest> {
    let query = body::urlencode(&build_tree(&fields.query, scope));
    let mark = if url.contains('?') { '&' } else { '?' };
    let url = if query.is_empty() {
        url.to_owned()
    } else {
        format!("{url}{mark}{query}")
    };
    let (bytes, content_type) = encode_body(&build_tree(&fields.body, scope), fields.encoding);
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    if let Some(content_type) = content_type {
        headers.insert(CONTENT_TYPE, HeaderValue::from_str(&content_type).ok()?);
    }
    insert_headers(&mut headers, &fields.header, scope)?;
    Some(ProviderRequest {
        method,
        url: url.parse().ok()?,
        headers,
        body: bytes,
    })
}

/// The description's own headers; those of the account are marked as secret.
pub(crate) fn insert_headers<'f>(
    headers: &mut HeaderMap,
    fields: impl IntoIterator<Item = &'f FieldMapping>,
    scope: &Scope<'_>,
) -> Option<()> {
    for field in fields {
        if let Some(value) = field.value.evaluate(scope) {
            let mut value = HeaderValue::from_bytes(to_text(&value).as_bytes()).ok()?;
            value.set_sensitive(field.value.any_source(ValueSource::is_secret));
            headers.insert(
                HeaderName::from_bytes(field.path.text.as_bytes()).ok()?,
                value,
            );
        }
    }
    Some(())
}

/// The fields that have a value, as one tree.
pub(crate) fn build_tree(fields: &[FieldMapping], scope: &Scope<'_>) -> Value {
    let mut tree = Value::Null;
    for field in fields {
        if let Some(value) = field.value.evaluate(scope) {
            field.path.set(&mut tree, &value, scope);
        }
    }
    tree
}

pub(crate) fn encode_body(tree: &Value, encode: BodyEncoding) -> (Bytes, Option<String>) {
    match encode {
        BodyEncoding::NoBody => (Bytes::new(), None),
        BodyEncoding::Json => (tree.to_string().into(), Some("application/json".into())),
        BodyEncoding::Form => (
            body::urlencode(tree).into(),
            Some("application/x-www-form-urlencoded".into()),
        ),
        BodyEncoding::Multipart => {
            let (bytes, boundary) = multipart::write(body::flat_fields(tree));
            (
                bytes.into(),
                Some(format!("multipart/form-data; boundary={boundary}")),
            )
        }
    }
}

/// Digests need the account and the time only, so a login and a probe have them too.
pub(crate) fn with_digests<R>(
    dialect: &Dialect,
    scope: Scope<'_>,
    run: impl FnOnce(&Scope<'_>) -> R,
) -> R {
    let digests: BTreeMap<String, String> = sign::digests(&dialect.send.digests, &scope);
    run(&Scope {
        digests: Some(&digests),
        ..scope
    })
}
