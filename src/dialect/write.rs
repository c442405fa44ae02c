//! A request written anew for one account: fields left to right, body encoded, signed.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::Method;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use serde_json::Value;

use crate::dialect::call::Call;
use crate::dialect::scope::Scope;
use crate::dialect::shape::{Encode, Field, Fields, Form};
use crate::dialect::template::{Source, text_of};
use crate::dialect::{Account, Dialect, Outgoing, Untranslatable, body, multipart, sign};
use crate::sms::{Cause, Message};

impl Form {
    pub(crate) fn value(&self, scope: &Scope<'_>) -> Option<Value> {
        match self {
            Self::Constant(value) => Some(value.clone()),
            Self::Template(template) => template.value(scope),
        }
    }
}

impl Dialect {
    /// Whether this dialect can say `message` at all (limits, prefixes, template), before a credential is touched.
    pub fn fits(&self, message: &Message) -> Result<(), Untranslatable> {
        let limits = &self.send.limits;
        let length = message.text.expose().chars().count();
        if let Some(limit) = limits.text.filter(|limit| length > *limit) {
            let why = format!("the text has {length} characters, {} takes {limit}", self.name);
            return Err(Untranslatable { cause: Cause::MessageInvalid, why });
        }
        if !limits.recipients.is_empty() && !limits.recipients.iter().any(|prefix| message.recipient.has_prefix(prefix)) {
            let why = format!("{} delivers to {} only", self.name, limits.recipients.join(", "));
            return Err(Untranslatable { cause: Cause::RecipientInvalid, why });
        }
        if self.sends_templates_only() && message.template.as_ref().is_none_or(|template| template.id.is_none()) {
            let why = format!("{} sends approved texts by their number only, and no template with one matches", self.name);
            return Err(Untranslatable { cause: Cause::TemplateNotApproved, why });
        }
        Ok(())
    }

    fn sends_templates_only(&self) -> bool {
        !self.send.fields.query.iter().chain(&self.send.fields.body).any(|field| field.form.has(|source| *source == Source::Text))
    }

    /// Writes a message anew (a translated attempt). Fields the backend's dialect carried that are in `may_drop` are lost.
    pub fn write(&self, message: &Message, account: &Account<'_>, now: Timestamp) -> Result<Outgoing, Untranslatable> {
        self.fits(message)?;
        self.complete(account)?;
        let scope = Scope { message: Some(message), account: Some(account), params: &self.params, now: Some(now), ..Scope::default() };
        let digests = sign::digests(&self.send.digests, &scope);
        let scope = Scope { digests: Some(&digests), ..scope };
        let url = address(&self.send.call, account.base_url, &scope)
            .ok_or_else(|| not_translatable("the address cannot be built; see `base_url`".into()))?;
        let method = self.send.call.methods.first().cloned().unwrap_or(Method::POST);
        let request = built(method, &url, &self.send.fields, &scope)
            .ok_or_else(|| not_translatable("a value does not go into a header or address".into()))?;
        self.signed(request, &scope)
    }

    /// Whether the account has all that this dialect needs.
    pub(crate) fn complete(&self, account: &Account<'_>) -> Result<(), Untranslatable> {
        let missing = |what: String| Err(Untranslatable { cause: Cause::CredentialMissing, why: what });
        for spec in self.credential.iter().filter(|spec| spec.required) {
            if account.credential.expose(&spec.name).is_none_or(str::is_empty) {
                return missing(format!("the vault entry has no field `{}`", spec.name));
            }
        }
        if self.token.is_some() && account.token.is_none() {
            return missing("no token was got by logging in".into());
        }
        match self.params.iter().find(|spec| spec.default.is_none() && !account.params.contains_key(&spec.name)) {
            Some(spec) => Err(not_translatable(format!("the provider has no param `{}`", spec.name))),
            None => Ok(()),
        }
    }

    pub(crate) fn signed(&self, mut request: Outgoing, scope: &Scope<'_>) -> Result<Outgoing, Untranslatable> {
        match &self.sign {
            Some(with) if sign::sign(with, &mut request, scope).is_none() && self.credential.iter().any(|spec| spec.required) => {
                Err(Untranslatable { cause: Cause::CredentialMissing, why: "a credential field does not go into a header".into() })
            }
            Some(_) | None => Ok(request),
        }
    }
}

/// Where a call goes: the account's base URL, or the host the call names.
pub(crate) fn address(call: &Call, base_url: &str, scope: &Scope<'_>) -> Option<String> {
    let base = call.origin.as_deref().unwrap_or(base_url).trim_end_matches('/');
    call.write(scope).map(|path| format!("{base}{path}"))
}

pub(crate) fn not_translatable(why: String) -> Untranslatable {
    Untranslatable { cause: Cause::NotTranslatable, why }
}

/// A request from its fields, not signed yet; none if a value does not fit into it.
pub(crate) fn built(method: Method, url: &str, fields: &Fields, scope: &Scope<'_>) -> Option<Outgoing> {
    let query = body::urlencode(&tree(&fields.query, scope));
    let mark = if url.contains('?') { '&' } else { '?' };
    let url = if query.is_empty() { url.to_owned() } else { format!("{url}{mark}{query}") };
    let (bytes, content_type) = encoded(&tree(&fields.body, scope), fields.encode);
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    if let Some(content_type) = content_type {
        headers.insert(CONTENT_TYPE, HeaderValue::from_str(&content_type).ok()?);
    }
    put_headers(&mut headers, &fields.header, scope)?;
    Some(Outgoing { method, url: url.parse().ok()?, headers, body: bytes })
}

/// The description's own headers; those of the account are marked as secret.
pub(crate) fn put_headers<'f>(headers: &mut HeaderMap, fields: impl IntoIterator<Item = &'f Field>, scope: &Scope<'_>) -> Option<()> {
    for field in fields {
        if let Some(value) = field.form.value(scope) {
            let mut value = HeaderValue::from_bytes(text_of(&value).as_bytes()).ok()?;
            value.set_sensitive(field.form.has(Source::is_credential));
            headers.insert(HeaderName::from_bytes(field.place.text.as_bytes()).ok()?, value);
        }
    }
    Some(())
}

/// The fields that have a value, as one tree.
pub(crate) fn tree(fields: &[Field], scope: &Scope<'_>) -> Value {
    let mut tree = Value::Null;
    for field in fields {
        if let Some(value) = field.form.value(scope) {
            field.place.put(&mut tree, &value, scope);
        }
    }
    tree
}

pub(crate) fn encoded(tree: &Value, encode: Encode) -> (Bytes, Option<String>) {
    match encode {
        Encode::Nothing => (Bytes::new(), None),
        Encode::Json => (tree.to_string().into(), Some("application/json".into())),
        Encode::Form => (body::urlencode(tree).into(), Some("application/x-www-form-urlencoded".into())),
        Encode::Multipart => {
            let (bytes, boundary) = multipart::write(body::fields(tree));
            (bytes.into(), Some(format!("multipart/form-data; boundary={boundary}")))
        }
    }
}

/// Digests need the account and the time only, so a login and a probe have them too.
pub(crate) fn with_digests<R>(dialect: &Dialect, scope: Scope<'_>, run: impl FnOnce(&Scope<'_>) -> R) -> R {
    let digests: BTreeMap<String, String> = sign::digests(&dialect.send.digests, &scope);
    run(&Scope { digests: Some(&digests), ..scope })
}
