//! The backend's own request with only what belongs to the account replaced: fields
//! whose holes are credential, param, token, digest or now, and the sender if the account
//! sets one. All else keeps its bytes where the encoding allows it; what held the
//! backend's credentials is replaced or dropped, never carried.

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, USER_AGENT};
use jiff::Timestamp;
use serde_json::Value;

use crate::dialect::expr::path::JsonPath;
use crate::dialect::expr::scope::Scope;
use crate::dialect::expr::template::{ValueSource, to_text};
use crate::dialect::model::{BodyEncoding, FieldMapping};
use crate::dialect::request::write::{
    endpoint_url, insert_headers, not_translatable, with_digests,
};
use crate::dialect::wire::body::{self, BodyFormat};
use crate::dialect::wire::multipart;
use crate::dialect::{
    Account, Dialect, MatchedOperation, ProviderRequest, RecognisedRequest, Request, Untranslatable,
};

/// One field to set or, without a value, to take away.
struct Edit<'d> {
    path: &'d JsonPath,
    value: Option<Value>,
    /// Put in where the backend had none.
    add_if_missing: bool,
}

impl Dialect {
    /// The backend's own request with only what belongs to the account replaced: a native send, a status, a carried call.
    pub fn patch(
        &self,
        seen: &RecognisedRequest,
        request: &Request,
        account: &Account<'_>,
        now: Timestamp,
    ) -> Result<ProviderRequest, Untranslatable> {
        self.check_account(account)?;
        let scope = Scope {
            account: Some(account),
            params: &self.params,
            now: Some(now),
            path_params: Some(&seen.path_params),
            ..Scope::default()
        };
        with_digests(self, scope, |scope| {
            let outgoing = self.build_patched(seen, request, scope).ok_or_else(|| {
                not_translatable(
                    "the request cannot be patched: its body or address does not hold".into(),
                )
            })?;
            self.sign_request(outgoing, scope)
        })
    }

    fn build_patched(
        &self,
        seen: &RecognisedRequest,
        request: &Request,
        scope: &Scope<'_>,
    ) -> Option<ProviderRequest> {
        let base_url = scope.account?.base_url;
        let url = match &seen.matched {
            MatchedOperation::Send => endpoint_url(&self.send.endpoint, base_url, scope)?,
            MatchedOperation::Login => {
                endpoint_url(&self.token.as_ref()?.endpoint, base_url, scope)?
            }
            MatchedOperation::Operation(at) => {
                endpoint_url(&self.operations.get(*at)?.endpoint, base_url, scope)?
            }
            MatchedOperation::ProviderOperation(call) => endpoint_url(call, base_url, scope)?,
        };
        let send = matches!(seen.matched, MatchedOperation::Send);
        let fields = &self.send.fields;
        let query_edits = self.field_edits(&fields.query, send, scope);
        let body_edits = self.field_edits(&fields.body, send, scope);
        let encoding = BodyFormat::detect(&request.headers, &request.body).ok()?;
        let in_body = matches!(
            encoding,
            BodyFormat::Form | BodyFormat::Multipart(_) | BodyFormat::Json
        ) && fields.encoding != BodyEncoding::NoBody;
        let query = request.query.as_deref().unwrap_or_default();
        let query = edit_pairs(query, &query_edits, true);
        let query = if fields.encoding == BodyEncoding::Json {
            query
        } else {
            edit_pairs(&query, &body_edits, !in_body)
        };
        let url = if query.is_empty() {
            url
        } else {
            format!("{url}?{query}")
        };
        let body = match &encoding {
            BodyFormat::Form => edit_pairs(
                std::str::from_utf8(&request.body).ok()?,
                &with_query_edits(&body_edits, &query_edits),
                true,
            )
            .into(),
            BodyFormat::Multipart(boundary) => edit_parts(&request.body, boundary, &body_edits)?,
            BodyFormat::Json if !body_edits.is_empty() => {
                edit_json(&request.body, &body_edits, scope)?
            }
            BodyFormat::Json | BodyFormat::Empty | BodyFormat::Other(_) => request.body.clone(),
        };
        let mut headers = self.forwarded_headers(&request.headers);
        insert_headers(&mut headers, self.account_headers(send), scope)?;
        Some(ProviderRequest {
            method: request.method.clone(),
            url: url.parse().ok()?,
            headers,
            body,
        })
    }

    /// What to change in one part of the request. Only a send gets parameters and times it did not have.
    fn field_edits<'d>(
        &'d self,
        fields: &'d [FieldMapping],
        send: bool,
        scope: &Scope<'_>,
    ) -> Vec<Edit<'d>> {
        let set_sender = send
            && scope
                .account
                .is_some_and(|account| account.sender.is_some());
        let mut edits = Vec::new();
        for field in fields {
            let account = field.value.any_source(ValueSource::belongs_to_account);
            let credential = field.value.any_source(ValueSource::is_secret);
            let sender = set_sender
                && field
                    .value
                    .any_source(|source| *source == ValueSource::Sender);
            let value = field.value.evaluate(scope);
            if account && (value.is_some() || credential) || sender {
                edits.push(Edit {
                    path: &field.path,
                    add_if_missing: value.is_some() && (send || credential),
                    value,
                });
            }
        }
        if set_sender {
            let spare = self.send.also_reads.iter().filter(|field| {
                field
                    .value
                    .any_source(|source| *source == ValueSource::Sender)
            });
            edits.extend(spare.map(|field| Edit {
                path: &field.path,
                value: field.value.evaluate(scope),
                add_if_missing: false,
            }));
        }
        edits.extend(self.send.dropped.iter().map(|place| Edit {
            path: place,
            value: None,
            add_if_missing: false,
        }));
        edits
    }

    /// Digests and times are of the send's own making; a key in a header goes with every operation.
    fn account_headers(&self, send: bool) -> impl Iterator<Item = &FieldMapping> {
        let made =
            |source: &ValueSource| matches!(source, ValueSource::Digest(_) | ValueSource::Now);
        let own = self
            .send
            .fields
            .header
            .iter()
            .filter(|field| field.value.any_source(ValueSource::belongs_to_account));
        own.filter(move |field| send || !field.value.any_source(made))
    }

    /// The allow-list: what says how to read the body, and what the description names; never a credential.
    fn forwarded_headers(&self, from: &HeaderMap) -> HeaderMap {
        let send = &self.send;
        let named = send
            .fields
            .header
            .iter()
            .filter(|field| !field.value.any_source(ValueSource::belongs_to_account))
            .map(|field| field.path.text.as_str());
        let named = named
            .chain(send.required_values.iter().map(|(name, _)| name.as_str()))
            .filter_map(|name| name.parse::<HeaderName>().ok());
        let mut out = HeaderMap::new();
        for name in [CONTENT_TYPE, ACCEPT, USER_AGENT].into_iter().chain(named) {
            if let Some(value) = from.get(&name) {
                out.insert(name, value.clone());
            }
        }
        out
    }
}

/// In a form of its own a backend may write a query field too: changed there, never added.
fn with_query_edits<'e>(body: &'e [Edit<'e>], query: &'e [Edit<'e>]) -> Vec<Edit<'e>> {
    let own = body.iter().map(|edit| Edit {
        path: edit.path,
        value: edit.value.clone(),
        add_if_missing: edit.add_if_missing,
    });
    own.chain(query.iter().map(|edit| Edit {
        path: edit.path,
        value: edit.value.clone(),
        add_if_missing: false,
    }))
    .collect()
}

/// Urlencoded pairs with edits; untouched pairs keep their bytes.
fn edit_pairs(text: &str, edits: &[Edit<'_>], add: bool) -> String {
    let mut out: Vec<String> = Vec::new();
    let mut done = vec![false; edits.len()];
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let name = body::decode_component(pair.split('=').next().unwrap_or_default());
        let edit = name
            .as_deref()
            .and_then(|name| edits.iter().position(|edit| edit.path.text == name));
        match edit.and_then(|at| Some((edits.get(at)?, done.get_mut(at)?))) {
            None => out.push(pair.to_owned()),
            Some((edit, done)) => {
                if let Some(value) = edit.value.as_ref().filter(|_| !*done) {
                    out.push(encode_pair(&edit.path.text, value));
                }
                *done = true;
            }
        }
    }
    for (edit, done) in edits.iter().zip(done) {
        if let Some(value) = edit
            .value
            .as_ref()
            .filter(|_| add && edit.add_if_missing && !done)
        {
            out.push(encode_pair(&edit.path.text, value));
        }
    }
    out.join("&")
}

fn encode_pair(name: &str, value: &Value) -> String {
    form_urlencoded::Serializer::new(String::new())
        .append_pair(name, &to_text(value))
        .finish()
}

fn edit_parts(bytes: &Bytes, boundary: &str, edits: &[Edit<'_>]) -> Option<Bytes> {
    let mut out: Vec<Vec<u8>> = Vec::new();
    let mut done = vec![false; edits.len()];
    for part in multipart::parts(bytes, boundary)? {
        let edit = edits.iter().position(|edit| edit.path.text == part.name);
        match edit.and_then(|at| Some((edits.get(at)?, done.get_mut(at)?))) {
            None => out.push(part.raw.to_vec()),
            Some((edit, done)) => {
                out.extend(
                    edit.value
                        .as_ref()
                        .filter(|_| !*done)
                        .map(|value| multipart::encode_part(&part.name, &to_text(value))),
                );
                *done = true;
            }
        }
    }
    for (edit, done) in edits.iter().zip(done) {
        if let Some(value) = edit.value.as_ref().filter(|_| edit.add_if_missing && !done) {
            out.push(multipart::encode_part(&edit.path.text, &to_text(value)));
        }
    }
    if edits.is_empty() {
        Some(bytes.clone())
    } else {
        Some(multipart::join_parts(out.iter().map(Vec::as_slice), boundary).into())
    }
}

/// Untouched, the body keeps its bytes; changed, its order.
fn edit_json(bytes: &Bytes, edits: &[Edit<'_>], scope: &Scope<'_>) -> Option<Bytes> {
    let tree = &body::parse_json(bytes).ok()?;
    let mut changed = tree.clone();
    let elsewhere = |edit: &Edit<'_>| {
        edits.iter().any(|other| {
            !other.add_if_missing
                && other.value == edit.value
                && !other.path.find_all(tree).is_empty()
        })
    };
    for edit in edits {
        let there = !edit.path.find_all(tree).is_empty();
        match &edit.value {
            Some(value) if there || edit.add_if_missing && !elsewhere(edit) => {
                edit.path.set(&mut changed, value, scope);
            }
            None if there => edit.path.remove(&mut changed),
            Some(_) | None => {}
        }
    }
    Some(if changed == *tree {
        bytes.clone()
    } else {
        changed.to_string().into()
    })
}
