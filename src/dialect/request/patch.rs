//! A native request: the backend's own, with only the account's parts replaced: fields whose
//! holes are credential, param, token, digest or now, and the sender if the account sets one.
//! Everything else keeps its bytes where the encoding allows it. The backend's credentials are
//! replaced or removed, never forwarded.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, USER_AGENT};
use jiff::Timestamp;
use serde_json::Value;

use crate::dialect::expr::path::JsonPath;
use crate::dialect::expr::scope::Scope;
use crate::dialect::expr::template::{ValueSource, to_text};
use crate::dialect::expr::tree::TreeValue;
use crate::dialect::model::{BodyEncoding, FieldMapping};
use crate::dialect::request::write::{
    endpoint_url, insert_headers, not_translatable, with_digests,
};
use crate::dialect::wire::body::{self, ParsedBody};
use crate::dialect::wire::format::{BodyFormat, strip_bom};
use crate::dialect::wire::json_text::JsonText;
use crate::dialect::wire::multipart;
use crate::dialect::{
    Account, Dialect, MatchedOperation, ProviderRequest, RecognisedRequest, Request, Untranslatable,
};

/// A field to set or, without a value, to remove.
struct Edit<'d> {
    path: Cow<'d, JsonPath>,
    value: Option<Value>,
    /// Added if the backend's request does not have it.
    add_if_missing: bool,
    /// What the backend's request has stays: the account does not set it.
    keep: bool,
}

impl Edit<'_> {
    /// Whether another field of the request, which is not ours to add, already gets the same value.
    fn is_elsewhere<'t, T: TreeValue<'t>>(&self, edits: &[Self], tree: T) -> bool {
        edits.iter().any(|other| {
            !other.add_if_missing && other.value == self.value && other.path.is_in(tree)
        })
    }
}

/// The edits of a request.
struct PatchEdits<'d> {
    query: Vec<Edit<'d>>,
    body: Vec<Edit<'d>>,
}

impl Dialect {
    /// The backend's own request with only the account's parts replaced: a native send, a status, a passthrough request.
    pub fn patch(
        &self,
        recognised: &RecognisedRequest,
        request: &Request,
        account: &Account<'_>,
        now: Timestamp,
    ) -> Result<ProviderRequest, Untranslatable> {
        self.check_account(account)?;
        let scope = Scope {
            account: Some(account),
            params: &self.params,
            now: Some(now),
            path_params: Some(&recognised.path_params),
            ..Scope::default()
        };
        with_digests(self, scope, |scope| {
            let outgoing = self
                .build_patched(recognised, request, scope)
                .ok_or_else(|| {
                    not_translatable(
                        "the request cannot be patched: its body or address is not valid".into(),
                    )
                })?;
            self.sign_request(outgoing, scope)
        })
    }

    fn build_patched(
        &self,
        recognised: &RecognisedRequest,
        request: &Request,
        scope: &Scope<'_>,
    ) -> Option<ProviderRequest> {
        let url = self.patched_url(recognised, scope)?;
        let is_send = matches!(recognised.matched, MatchedOperation::Send);
        let fields = &self.send.fields;
        let mut edits = PatchEdits {
            query: self.field_edits(&fields.query, is_send, scope),
            body: self.field_edits(&fields.body, is_send, scope),
        };
        let format = BodyFormat::detect(&request.headers, &request.body).ok()?;
        self.place_entries(&mut edits.body, request);
        let query = self.patched_query(request, &format, &edits);
        let url = if query.is_empty() {
            url
        } else {
            format!("{url}?{query}")
        };
        let mut headers = self.forwarded_headers(&request.headers);
        insert_headers(&mut headers, self.account_headers(is_send), scope)?;
        Some(ProviderRequest {
            method: request.method.clone(),
            url: url.try_into().ok()?,
            headers,
            body: patched_body(request, &format, &edits, scope)?,
        })
    }

    fn patched_url(&self, recognised: &RecognisedRequest, scope: &Scope<'_>) -> Option<String> {
        let endpoint = match &recognised.matched {
            MatchedOperation::Send => &self.send.endpoint,
            MatchedOperation::Login => &self.token.as_ref()?.endpoint,
            MatchedOperation::Operation(at) => &self.operations.get(*at)?.endpoint,
            MatchedOperation::ProviderOperation(endpoint) => endpoint,
        };
        endpoint_url(endpoint, scope.account?.base_url, scope)
    }

    /// The query; fields of a form may be in it too, and are added to it if there is no body.
    fn patched_query(
        &self,
        request: &Request,
        format: &BodyFormat,
        edits: &PatchEdits<'_>,
    ) -> String {
        let encoding = self.send.fields.encoding;
        let has_body_fields = matches!(
            format,
            BodyFormat::Form | BodyFormat::Multipart(_) | BodyFormat::Json
        ) && encoding != BodyEncoding::NoBody;
        let query = request.query.as_deref().unwrap_or_default();
        let query = edit_pairs(query, &edits.query, true);
        if encoding == BodyEncoding::Json {
            query
        } else {
            edit_pairs(&query, &edits.body, !has_body_fields)
        }
    }

    /// Moves the edits of a keyed list to where the request has its entries.
    fn place_entries(&self, edits: &mut [Edit<'_>], request: &Request) {
        if self.send.keyed.is_empty() {
            return;
        }
        let body = ParsedBody::parse(&request.headers, &request.body);
        let Ok(Value::Object(fields)) = body.map(|body| body.tree.into_tree()) else {
            return;
        };
        for edit in edits {
            let placed = self.send.place_entry(&edit.path, &fields).into_owned();
            edit.path = Cow::Owned(placed);
        }
    }

    /// What to change in one part of the request. Only a send gets parameters and times that it did not have.
    fn field_edits<'d>(
        &'d self,
        fields: &'d [FieldMapping],
        is_send: bool,
        scope: &Scope<'_>,
    ) -> Vec<Edit<'d>> {
        let sets_sender = is_send
            && scope
                .account
                .is_some_and(|account| account.sender.is_some());
        let is_sender = |field: &FieldMapping| {
            sets_sender
                && field
                    .value
                    .any_source(|source| *source == ValueSource::Sender)
        };
        let edit_of = |field: &'d FieldMapping| {
            let is_sender = is_sender(field);
            if !is_sender && !field.value.any_source(ValueSource::belongs_to_account) {
                return None;
            }
            let is_secret = field.value.any_source(ValueSource::is_secret);
            let value = field.value.evaluate(scope);
            (is_sender || value.is_some() || is_secret).then(|| Edit {
                path: Cow::Borrowed(&field.path),
                add_if_missing: value.is_some() && (is_send || is_secret),
                value,
                keep: !is_sender && is_default_only(field, scope),
            })
        };
        let mut edits: Vec<Edit<'d>> = fields.iter().filter_map(edit_of).collect();
        let also_read = self.send.also_reads.iter().filter(|field| is_sender(field));
        edits.extend(also_read.map(|field| Edit {
            path: Cow::Borrowed(&field.path),
            value: field.value.evaluate(scope),
            add_if_missing: false,
            keep: false,
        }));
        edits.extend(self.send.dropped.iter().map(|path| Edit {
            path: Cow::Borrowed(path),
            value: None,
            add_if_missing: false,
            keep: false,
        }));
        edits
    }

    /// The headers of the account. Digests and times belong to a send; a key belongs to every operation.
    fn account_headers(&self, send: bool) -> impl Iterator<Item = &FieldMapping> {
        let is_computed =
            |source: &ValueSource| matches!(source, ValueSource::Digest(_) | ValueSource::Now);
        let own = self
            .send
            .fields
            .header
            .iter()
            .filter(|field| field.value.any_source(ValueSource::belongs_to_account));
        own.filter(move |field| send || !field.value.any_source(is_computed))
    }

    /// The allow-list: headers about the body and those that the description names; never a credential.
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

/// Whether a field has nothing of the account but defaults of parameters that the provider does not set.
fn is_default_only(field: &FieldMapping, scope: &Scope<'_>) -> bool {
    let is_default = |source: &ValueSource| {
        if let ValueSource::Param(name) = source {
            let account = scope.account;
            account.is_some_and(|account| !account.params.contains_key(name))
        } else {
            !source.belongs_to_account()
        }
    };
    field.value.exprs().all(|hole| is_default(&hole.source))
}

/// The body with its edits; without edits it keeps its bytes.
fn patched_body(
    request: &Request,
    format: &BodyFormat,
    edits: &PatchEdits<'_>,
    scope: &Scope<'_>,
) -> Option<Bytes> {
    match format {
        BodyFormat::Form => {
            let text = std::str::from_utf8(&request.body).ok()?;
            Some(edit_pairs(text, &with_query_edits(&edits.body, &edits.query), true).into())
        }
        BodyFormat::Multipart(boundary) => edit_parts(&request.body, boundary, &edits.body),
        BodyFormat::Json => {
            // A byte order mark is not JSON: we skip it, and a service may not.
            let plain = request.body.slice_ref(strip_bom(&request.body));
            if edits.body.is_empty() {
                Some(plain)
            } else {
                edit_json(&plain, &edits.body, scope)
            }
        }
        BodyFormat::Empty | BodyFormat::Other(_) => Some(request.body.clone()),
    }
}

/// A backend may write a query field into its form: it is changed there, never added.
fn with_query_edits<'e>(body: &'e [Edit<'e>], query: &'e [Edit<'e>]) -> Vec<Edit<'e>> {
    let copied = |edit: &'e Edit<'e>, add_if_missing| Edit {
        path: Cow::Borrowed(edit.path.as_ref()),
        value: edit.value.clone(),
        add_if_missing,
        keep: edit.keep,
    };
    let own = body.iter().map(|edit| copied(edit, edit.add_if_missing));
    own.chain(query.iter().map(|edit| copied(edit, false)))
        .collect()
}

/// Urlencoded pairs with edits; other pairs keep their bytes.
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
            Some((edit, done)) if edit.keep => {
                out.push(pair.to_owned());
                *done = true;
            }
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

pub(super) fn encode_pair(name: &str, value: &Value) -> String {
    form_urlencoded::Serializer::new(String::new())
        .append_pair(name, &to_text(value))
        .finish()
}

fn edit_parts(bytes: &Bytes, boundary: &str, edits: &[Edit<'_>]) -> Option<Bytes> {
    let mut out: Vec<Vec<u8>> = Vec::new();
    let mut done = vec![false; edits.len()];
    for part in multipart::parts(bytes, boundary).ok()? {
        let edit = edits.iter().position(|edit| edit.path.text == part.name);
        match edit.and_then(|at| Some((edits.get(at)?, done.get_mut(at)?))) {
            None => out.push(part.raw.to_vec()),
            Some((edit, done)) if edit.keep => {
                out.push(part.raw.to_vec());
                *done = true;
            }
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

/// A JSON body with edits: unchanged values keep their bytes.
fn edit_json(bytes: &Bytes, edits: &[Edit<'_>], scope: &Scope<'_>) -> Option<Bytes> {
    let edited = JsonText::read(bytes).ok()?;
    edited
        .and_then(|json| replace_values(&json, edits))
        .or_else(|| edit_tree(bytes, edits, scope))
}

/// The edits as replaced values; none if one of them adds or removes something.
fn replace_values(json: &JsonText, edits: &[Edit<'_>]) -> Option<Bytes> {
    let root = json.root();
    let mut replaced = Vec::new();
    for edit in edits {
        let is_there = edit.path.is_in(root);
        match &edit.value {
            Some(_) if is_there && edit.keep => {}
            Some(value) if is_there => {
                let places = edit.path.find_replaced(root)?.into_iter();
                replaced.extend(places.map(|place| (place, value)));
            }
            Some(_) if edit.add_if_missing && !edit.is_elsewhere(edits, root) => return None,
            None if is_there => return None,
            Some(_) | None => {}
        }
    }
    replaced.sort_by_key(|(place, _)| place.span().start);
    let places = replaced.iter().map(|(place, _)| place.span());
    let is_apart = places.is_sorted_by(|first, second| first.end <= second.start);
    let edits: Vec<(Range<usize>, String)> = replaced
        .into_iter()
        .filter(|(place, value)| place.to_value() != **value)
        .map(|(place, value)| (place.span(), value.to_string()))
        .collect();
    is_apart.then(|| json.replace(&edits))
}

/// The edits in a tree, which keeps the order but not the spelling.
fn edit_tree(bytes: &Bytes, edits: &[Edit<'_>], scope: &Scope<'_>) -> Option<Bytes> {
    let tree = &body::parse_json(bytes).ok()?;
    let mut changed = tree.clone();
    for edit in edits {
        let is_there = edit.path.is_in(tree);
        match &edit.value {
            Some(_) if is_there && edit.keep => {}
            Some(value) if is_there || edit.add_if_missing && !edit.is_elsewhere(edits, tree) => {
                edit.path.set(&mut changed, value, scope);
            }
            None if is_there => edit.path.remove(&mut changed),
            Some(_) | None => {}
        }
    }
    Some(if changed == *tree {
        bytes.clone()
    } else {
        changed.to_string().into()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::dialect::expr::path::FlatKeys;

    fn path(text: &str) -> JsonPath {
        JsonPath::parse(text, FlatKeys(false)).unwrap()
    }

    fn edit(path: &JsonPath, value: Option<Value>, add_if_missing: bool) -> Edit<'_> {
        Edit {
            path: Cow::Borrowed(path),
            value,
            add_if_missing,
            keep: false,
        }
    }

    #[test]
    fn a_changed_value_leaves_the_rest_as_the_backend_wrote_it() {
        let (from, text) = (path("m[].from"), path("m[].text"));
        let body =
            Bytes::from("{ \"m\": [\n  {\"from\": \"A\", \"text\": \"a\\/b\", \"n\": 1.0}\n] }");
        let edits = [
            edit(&from, Some(json!("3700")), true),
            edit(&text, None, false),
        ];
        let edited = edit_json(&body, &edits[..1], &Scope::default()).unwrap();
        assert_eq!(
            edited,
            "{ \"m\": [\n  {\"from\": \"3700\", \"text\": \"a\\/b\", \"n\": 1.0}\n] }"
        );
        let removed = edit_json(&body, &edits, &Scope::default()).unwrap();
        assert_eq!(removed, r#"{"m":[{"from":"3700","n":1.0}]}"#);
    }

    fn any_body() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![Just(Value::Null), Just(json!("x")), Just(json!(1))];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[abc]", inner, 0..4)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    fn any_edit() -> impl Strategy<Value = (JsonPath, Option<Value>, bool)> {
        let path = "(a|b|c)(\\[\\])?(\\.(a|b|c)(\\[\\])?){0,2}";
        let value = prop_oneof![Just(None), Just(Some(json!("x"))), Just(Some(json!("new")))];
        (path, value, any::<bool>())
            .prop_map(|(text, value, add)| (super::tests::path(&text), value, add))
    }

    proptest! {
        /// Values that are replaced where they stand say what the edited tree says.
        #[test]
        fn replaced_values_are_the_edited_tree(body in any_body(), edits in prop::collection::vec(any_edit(), 0..3)) {
            let bytes = Bytes::from(format!("{body:#}"));
            let edits: Vec<Edit<'_>> = edits.iter().map(|(path, value, add)| edit(path, value.clone(), *add)).collect();
            let json = JsonText::read(&bytes).unwrap().unwrap();
            let scope = Scope::default();
            if let Some(replaced) = replace_values(&json, &edits) {
                let edited = edit_tree(&bytes, &edits, &scope).unwrap();
                prop_assert_eq!(body::parse_json(&replaced).unwrap(), body::parse_json(&edited).unwrap());
            }
        }
    }
}
