//! The backend's own request with only what belongs to the account replaced: fields
//! whose holes are credential, param, token, digest or now, and the sender if the account
//! sets one. All else keeps its bytes where the encoding allows it; what held the
//! backend's credentials is replaced or dropped, never carried.

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, USER_AGENT};
use jiff::Timestamp;
use serde_json::Value;

use crate::dialect::body::{self, Encoding};
use crate::dialect::multipart;
use crate::dialect::place::Place;
use crate::dialect::scope::Scope;
use crate::dialect::shape::{Encode, Field};
use crate::dialect::template::{Source, text_of};
use crate::dialect::write::{address, not_translatable, put_headers, with_digests};
use crate::dialect::{Account, Dialect, Entry, Outgoing, Recognised, Request, Untranslatable};

/// One field to set or, without a value, to take away.
struct Edit<'d> {
    place: &'d Place,
    value: Option<Value>,
    /// Put in where the backend had none.
    add: bool,
}

impl Dialect {
    /// The backend's own request with only what belongs to the account replaced: a native send, a status, a carried call.
    pub fn patch(&self, seen: &Recognised, request: &Request, account: &Account<'_>, now: Timestamp) -> Result<Outgoing, Untranslatable> {
        self.complete(account)?;
        let scope = Scope { account: Some(account), params: &self.params, now: Some(now), path: Some(&seen.path), ..Scope::default() };
        with_digests(self, scope, |scope| {
            let outgoing = self
                .patched(seen, request, scope)
                .ok_or_else(|| not_translatable("the request cannot be patched: its body or address does not hold".into()))?;
            self.signed(outgoing, scope)
        })
    }

    fn patched(&self, seen: &Recognised, request: &Request, scope: &Scope<'_>) -> Option<Outgoing> {
        let base_url = scope.account?.base_url;
        let url = match &seen.entry {
            Entry::Send => address(&self.send.call, base_url, scope)?,
            Entry::Login => address(&self.token.as_ref()?.call, base_url, scope)?,
            Entry::Operation(at) => address(&self.operations.get(*at)?.call, base_url, scope)?,
            Entry::Extra(call) => address(call, base_url, scope)?,
        };
        let send = matches!(seen.entry, Entry::Send);
        let fields = &self.send.fields;
        let query_edits = self.edits(&fields.query, send, scope);
        let body_edits = self.edits(&fields.body, send, scope);
        let encoding = Encoding::of(&request.headers, &request.body).ok()?;
        let in_body = matches!(encoding, Encoding::Form | Encoding::Multipart(_) | Encoding::Json) && fields.encode != Encode::Nothing;
        let query = request.query.as_deref().unwrap_or_default();
        let query = edit_pairs(query, &query_edits, true);
        let query = if fields.encode == Encode::Json { query } else { edit_pairs(&query, &body_edits, !in_body) };
        let url = if query.is_empty() { url } else { format!("{url}?{query}") };
        let body = match &encoding {
            Encoding::Form => edit_pairs(std::str::from_utf8(&request.body).ok()?, &in_query(&body_edits, &query_edits), true).into(),
            Encoding::Multipart(boundary) => edit_parts(&request.body, boundary, &body_edits)?,
            Encoding::Json if !body_edits.is_empty() => edit_json(&request.body, &body_edits, scope)?,
            Encoding::Json | Encoding::Empty | Encoding::Other(_) => request.body.clone(),
        };
        let mut headers = self.carried_headers(&request.headers);
        put_headers(&mut headers, self.account_headers(send), scope)?;
        Some(Outgoing { method: request.method.clone(), url: url.parse().ok()?, headers, body })
    }

    /// What to change in one part of the request. Only a send gets parameters and times it did not have.
    fn edits<'d>(&'d self, fields: &'d [Field], send: bool, scope: &Scope<'_>) -> Vec<Edit<'d>> {
        let set_sender = send && scope.account.is_some_and(|account| account.sender.is_some());
        let mut edits = Vec::new();
        for field in fields {
            let account = field.form.has(Source::is_account);
            let credential = field.form.has(Source::is_credential);
            let sender = set_sender && field.form.has(|source| *source == Source::Sender);
            let value = field.form.value(scope);
            if account && (value.is_some() || credential) || sender {
                edits.push(Edit { place: &field.place, add: value.is_some() && (send || credential), value });
            }
        }
        if set_sender {
            let spare = self.send.reads.iter().filter(|field| field.form.has(|source| *source == Source::Sender));
            edits.extend(spare.map(|field| Edit { place: &field.place, value: field.form.value(scope), add: false }));
        }
        edits.extend(self.send.drops.iter().map(|place| Edit { place, value: None, add: false }));
        edits
    }

    /// Digests and times are of the send's own making; a key in a header goes with every operation.
    fn account_headers(&self, send: bool) -> impl Iterator<Item = &Field> {
        let made = |source: &Source| matches!(source, Source::Digest(_) | Source::Now);
        let own = self.send.fields.header.iter().filter(|field| field.form.has(Source::is_account));
        own.filter(move |field| send || !field.form.has(made))
    }

    /// The allow-list: what says how to read the body, and what the description names; never a credential.
    fn carried_headers(&self, from: &HeaderMap) -> HeaderMap {
        let send = &self.send;
        let named = send.fields.header.iter().filter(|field| !field.form.has(Source::is_account)).map(|field| field.place.text.as_str());
        let named = named.chain(send.matching.iter().map(|(name, _)| name.as_str())).filter_map(|name| name.parse::<HeaderName>().ok());
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
fn in_query<'e>(body: &'e [Edit<'e>], query: &'e [Edit<'e>]) -> Vec<Edit<'e>> {
    let own = body.iter().map(|edit| Edit { place: edit.place, value: edit.value.clone(), add: edit.add });
    own.chain(query.iter().map(|edit| Edit { place: edit.place, value: edit.value.clone(), add: false })).collect()
}

/// Urlencoded pairs with edits; untouched pairs keep their bytes.
fn edit_pairs(text: &str, edits: &[Edit<'_>], add: bool) -> String {
    let mut out: Vec<String> = Vec::new();
    let mut done = vec![false; edits.len()];
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let name = body::decode(pair.split('=').next().unwrap_or_default());
        let edit = name.as_deref().and_then(|name| edits.iter().position(|edit| edit.place.text == name));
        match edit.and_then(|at| Some((edits.get(at)?, done.get_mut(at)?))) {
            None => out.push(pair.to_owned()),
            Some((edit, done)) => {
                if let Some(value) = edit.value.as_ref().filter(|_| !*done) {
                    out.push(encode_pair(&edit.place.text, value));
                }
                *done = true;
            }
        }
    }
    for (edit, done) in edits.iter().zip(done) {
        if let Some(value) = edit.value.as_ref().filter(|_| add && edit.add && !done) {
            out.push(encode_pair(&edit.place.text, value));
        }
    }
    out.join("&")
}

fn encode_pair(name: &str, value: &Value) -> String {
    form_urlencoded::Serializer::new(String::new()).append_pair(name, &text_of(value)).finish()
}

fn edit_parts(bytes: &Bytes, boundary: &str, edits: &[Edit<'_>]) -> Option<Bytes> {
    let mut out: Vec<Vec<u8>> = Vec::new();
    let mut done = vec![false; edits.len()];
    for part in multipart::parts(bytes, boundary)? {
        let edit = edits.iter().position(|edit| edit.place.text == part.name);
        match edit.and_then(|at| Some((edits.get(at)?, done.get_mut(at)?))) {
            None => out.push(part.raw.to_vec()),
            Some((edit, done)) => {
                out.extend(edit.value.as_ref().filter(|_| !*done).map(|value| multipart::raw_part(&part.name, &text_of(value))));
                *done = true;
            }
        }
    }
    for (edit, done) in edits.iter().zip(done) {
        if let Some(value) = edit.value.as_ref().filter(|_| edit.add && !done) {
            out.push(multipart::raw_part(&edit.place.text, &text_of(value)));
        }
    }
    if edits.is_empty() { Some(bytes.clone()) } else { Some(multipart::join(out.iter().map(Vec::as_slice), boundary).into()) }
}

/// Untouched, the body keeps its bytes; changed, its order.
fn edit_json(bytes: &Bytes, edits: &[Edit<'_>], scope: &Scope<'_>) -> Option<Bytes> {
    let tree = &body::json(bytes).ok()?;
    let mut changed = tree.clone();
    let elsewhere =
        |edit: &Edit<'_>| edits.iter().any(|other| !other.add && other.value == edit.value && !other.place.all(tree).is_empty());
    for edit in edits {
        let there = !edit.place.all(tree).is_empty();
        match &edit.value {
            Some(value) if there || edit.add && !elsewhere(edit) => edit.place.put(&mut changed, value, scope),
            None if there => edit.place.remove(&mut changed),
            Some(_) | None => {}
        }
    }
    Some(if changed == *tree { bytes.clone() } else { changed.to_string().into() })
}
