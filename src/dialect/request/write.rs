//! A translated request for one account: its fields written left to right, encoded, signed.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::Method;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use serde_json::Value;

use crate::dialect::expr::filter::{Filter, has_national_form};
use crate::dialect::expr::scope::Scope;
use crate::dialect::expr::template::{ValueSource, to_text};
use crate::dialect::model::endpoint::Endpoint;
use crate::dialect::model::{BodyEncoding, FieldMapping, FieldValue, RequestTemplate};
use crate::dialect::request::sign;
use crate::dialect::wire::body;
use crate::dialect::wire::multipart;
use crate::dialect::{Account, Dialect, ProviderRequest, Untranslatable};
use crate::sms::{Cause, Message, Msisdn};

impl FieldValue {
    pub(crate) fn evaluate(&self, scope: &Scope<'_>) -> Option<Value> {
        match self {
            Self::Constant(value) => Some(value.clone()),
            Self::Template(template) => template.evaluate(scope),
        }
    }
}

impl Dialect {
    /// Whether this dialect can express `message` (limits, prefixes, template); needs no credential.
    pub fn check_message(&self, message: &Message) -> Result<(), Untranslatable> {
        let limits = &self.send.limits;
        let length = message.text.expose().chars().count();
        if let Some(limit) = limits.text.filter(|limit| length > *limit) {
            return Err(Untranslatable {
                cause: Cause::MessageInvalid,
                reason: format!(
                    "the text has {length} characters, {} takes {limit}",
                    self.name
                ),
            });
        }
        self.check_recipient(&message.recipient)?;
        let has_template_id = || message.template.as_ref().is_some_and(|t| t.id.is_some());
        if self.sends_templates_only() && !has_template_id() {
            return Err(Untranslatable {
                cause: Cause::TemplateNotApproved,
                reason: format!(
                    "{} sends approved texts by their id only, and no template with an id matches",
                    self.name
                ),
            });
        }
        Ok(())
    }

    /// Whether the service delivers to the number, and can be told it.
    fn check_recipient(&self, recipient: &Msisdn) -> Result<(), Untranslatable> {
        let prefixes = &self.send.limits.recipients;
        let delivers_there = |prefix: &String| recipient.has_prefix(prefix);
        if !prefixes.is_empty() && !prefixes.iter().any(delivers_there) {
            return Err(Untranslatable {
                cause: Cause::RecipientInvalid,
                reason: format!("{} delivers to {} only", self.name, prefixes.join(", ")),
            });
        }
        let digits = recipient.digits();
        if self
            .national_prefixes()
            .any(|prefix| !has_national_form(digits, prefix))
        {
            return Err(Untranslatable {
                cause: Cause::RecipientInvalid,
                reason: format!(
                    "{} takes numbers without the country's prefix, and would read this one as another; correct the number",
                    self.name
                ),
            });
        }
        Ok(())
    }

    /// The prefixes that recipients are written without.
    fn national_prefixes(&self) -> impl Iterator<Item = &str> {
        let fields = &self.send.fields;
        let fields = fields
            .query
            .iter()
            .chain(&fields.body)
            .chain(&fields.header);
        let filters = fields.flat_map(|field| field.value.exprs().flat_map(|hole| &hole.filters));
        filters.filter_map(|filter| {
            if let Filter::National(prefix) = filter {
                Some(prefix.as_str())
            } else {
                None
            }
        })
    }

    fn sends_templates_only(&self) -> bool {
        let fields = &self.send.fields;
        let mut written = fields.query.iter().chain(&fields.body);
        !written.any(|field| {
            field
                .value
                .any_source(|source| *source == ValueSource::Text)
        })
    }

    /// Writes a message for a translated attempt. `droppable` fields of the backend's request are lost.
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
            not_translatable("a value is not valid in a header or address".into())
        })?;
        self.sign_request(request, &scope)
    }

    /// Whether the account has all that this dialect needs.
    pub(crate) fn check_account(&self, account: &Account<'_>) -> Result<(), Untranslatable> {
        self.check_credential_fields(account)?;
        if self.token.is_some() && account.token.is_none() {
            return Err(credential_missing("the login returned no token".into()));
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

    /// Whether the vault entry has every required field.
    pub(crate) fn check_credential_fields(
        &self,
        account: &Account<'_>,
    ) -> Result<(), Untranslatable> {
        let is_missing = |name: &str| account.credential.expose(name).is_none_or(str::is_empty);
        match self
            .credential
            .iter()
            .find(|spec| spec.required && is_missing(&spec.name))
        {
            Some(spec) => Err(credential_missing(format!(
                "the vault entry has no field `{}`",
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
                Err(credential_missing(
                    "a credential field is not valid in a header".into(),
                ))
            }
            Some(_) | None => Ok(request),
        }
    }
}

/// The URL of an endpoint: below the account's base URL, or at the host that the endpoint names.
pub(crate) fn endpoint_url(
    endpoint: &Endpoint,
    base_url: &str,
    scope: &Scope<'_>,
) -> Option<String> {
    let base = endpoint
        .origin
        .as_deref()
        .unwrap_or(base_url)
        .trim_end_matches('/');
    endpoint
        .render_path(scope)
        .map(|path| format!("{base}{path}"))
}

pub(crate) fn not_translatable(reason: String) -> Untranslatable {
    Untranslatable {
        cause: Cause::NotTranslatable,
        reason,
    }
}

fn credential_missing(reason: String) -> Untranslatable {
    Untranslatable {
        cause: Cause::CredentialMissing,
        reason,
    }
}

/// An unsigned request from its fields; none if a value is not valid in it.
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
        url: url.try_into().ok()?,
        headers,
        body: bytes,
    })
}

/// Adds the description's headers; those with a secret are marked sensitive.
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

/// Runs with the digests in scope: they need the account and the time only, so logins and probes have them too.
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
