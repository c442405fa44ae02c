//! Replaces recipients in a backend's request, where its dialect names them: in fields, lists, separated texts and
//! JSON numbers alike. Everything else keeps its bytes where the encoding allows it.

use bytes::Bytes;
use http::HeaderValue;
use serde_json::Value;

use crate::dialect::expr::filter::Filter;
use crate::dialect::expr::path::JsonPath;
use crate::dialect::expr::template::{Expr, ValueSource};
use crate::dialect::model::{FieldMapping, FieldValue};
use crate::dialect::request::listed_fields::first_name;
use crate::dialect::request::patch::encode_pair;
use crate::dialect::wire::body;
use crate::dialect::wire::format::BodyFormat;
use crate::dialect::wire::multipart;
use crate::dialect::{DecodedRequest, Dialect, Request};
use crate::parse_limit::read_json;
use crate::sms::Msisdn;

/// A field that holds recipients.
struct RecipientField<'d> {
    path: &'d JsonPath,
    hole: &'d Expr,
}

impl Dialect {
    /// A field of the request that holds recipients in a form in which no country code can be added.
    pub fn uncompleted_field(&self, decoded: &DecodedRequest) -> Option<&str> {
        let mut fields = self.send.other_recipients.iter();
        let is_there = |field: &&String| {
            let mut unmapped = decoded.untranslatable_fields.iter();
            unmapped.any(|path| first_name(path) == field.as_str())
        };
        fields.find(is_there).map(String::as_str)
    }

    /// The request with other recipients: `replace` finds the number that takes the place of one, if one does. None:
    /// nothing is replaced.
    pub fn replace_recipients(
        &self,
        request: &Request,
        replace: &impl Fn(&str) -> Option<Msisdn>,
    ) -> Option<Request> {
        let send = &self.send.fields;
        let read = self.send.also_reads.iter();
        let fields = recipient_fields(send.body.iter().chain(&send.query).chain(read));
        let mut changed = request.clone();
        let query = request.query.as_deref().unwrap_or_default();
        let new_query = replace_in_pairs(query, &fields, replace);
        let new_body = replace_in_body(request, &fields, replace);
        let mut is_changed = new_query.is_some() || new_body.is_some();
        changed.query = new_query.or(changed.query);
        changed.body = new_body.unwrap_or(changed.body);
        for field in recipient_fields(send.header.iter()) {
            let value = request.headers.get(&field.path.text);
            let text = value.and_then(|value| field.replace_field(value.to_str().ok()?, replace));
            let new = text.and_then(|text| HeaderValue::from_str(&text).ok());
            let current = changed.headers.get_mut(&field.path.text);
            if let Some((current, new)) = current.zip(new) {
                *current = new;
                is_changed = true;
            }
        }
        is_changed.then_some(changed)
    }
}

/// The fields whose one hole is the recipient. A field of national numbers completes them itself.
fn recipient_fields<'d>(fields: impl Iterator<Item = &'d FieldMapping>) -> Vec<RecipientField<'d>> {
    let found = fields.filter_map(|field| {
        let FieldValue::Template(template) = &field.value else {
            return None;
        };
        let hole = template.as_single_expr()?;
        let is_national = |filter: &Filter| matches!(filter, Filter::National(_));
        let is_recipient = hole.source == ValueSource::To
            && !hole.is_constant()
            && !hole.filters.iter().any(is_national);
        is_recipient.then_some(RecipientField {
            path: &field.path,
            hole,
        })
    });
    found.collect()
}

impl RecipientField<'_> {
    /// Whether a form or query has it under this name.
    fn has_name(&self, name: &str) -> bool {
        name == self.path.json_field.as_deref().unwrap_or(&self.path.text)
    }

    /// The text of a form field or header: recipients, or JSON that has them inside.
    fn replace_field(
        &self,
        text: &str,
        replace: &impl Fn(&str) -> Option<Msisdn>,
    ) -> Option<String> {
        let Some(name) = &self.path.json_field else {
            return self.replace_text(text, replace);
        };
        let inside: Value = read_json(text.as_bytes()).ok()?;
        let mut tree = serde_json::json!({ name.as_str(): inside });
        let is_changed = self.replace_in_tree(&mut tree, replace);
        let new = tree.get(name).filter(|_| is_changed);
        new.map(Value::to_string)
    }

    /// A recipient, or several with a separator.
    fn replace_text(
        &self,
        text: &str,
        replace: &impl Fn(&str) -> Option<Msisdn>,
    ) -> Option<String> {
        let separator = self.hole.filters.iter().find_map(Filter::separator);
        let parts: Vec<&str> = match separator {
            Some(with) => text.split(with).collect(),
            None => vec![text],
        };
        let new: Vec<Option<String>> = parts
            .iter()
            .map(|part| replace(part).map(|number| self.spell(&number)))
            .collect();
        if new.iter().all(Option::is_none) {
            return None;
        }
        let texts = parts.iter().zip(new);
        let texts: Vec<String> = texts
            .map(|(part, new)| new.unwrap_or_else(|| (*part).to_owned()))
            .collect();
        Some(texts.join(separator.unwrap_or_default()))
    }

    /// As the service expects it, with or without plus sign.
    fn spell(&self, number: &Msisdn) -> String {
        if self.hole.filters.contains(&Filter::Plus) {
            number.to_e164()
        } else {
            number.digits().to_owned()
        }
    }

    /// Whether a value in the tree changed.
    fn replace_in_tree(&self, tree: &mut Value, replace: &impl Fn(&str) -> Option<Msisdn>) -> bool {
        let mut is_changed = false;
        self.path.update(tree, &mut |value| {
            is_changed |= self.replace_value(value, replace);
        });
        is_changed
    }

    fn replace_value(&self, value: &mut Value, replace: &impl Fn(&str) -> Option<Msisdn>) -> bool {
        let new = match value {
            Value::Array(items) => {
                return items.iter_mut().fold(false, |is_changed, item| {
                    self.replace_value(item, replace) | is_changed
                });
            }
            Value::String(text) => self.replace_text(text, replace).map(Value::from),
            Value::Number(number) => replace(&number.to_string())
                .and_then(|number| number.digits().parse::<u64>().ok())
                .map(Value::from),
            Value::Null | Value::Bool(_) | Value::Object(_) => None,
        };
        let is_changed = new.is_some();
        *value = new.unwrap_or_else(|| value.take());
        is_changed
    }

    /// The same in a JSON body, where a field that holds JSON as text is text of its own.
    fn replace_in_json(&self, tree: &mut Value, replace: &impl Fn(&str) -> Option<Msisdn>) -> bool {
        let Some(name) = &self.path.json_field else {
            return self.replace_in_tree(tree, replace);
        };
        match tree.get_mut(name) {
            Some(Value::String(text)) => match self.replace_field(text, replace) {
                Some(new) => {
                    *text = new;
                    true
                }
                None => false,
            },
            Some(_) => self.replace_in_tree(tree, replace),
            None => false,
        }
    }
}

fn replace_in_body(
    request: &Request,
    fields: &[RecipientField<'_>],
    replace: &impl Fn(&str) -> Option<Msisdn>,
) -> Option<Bytes> {
    match BodyFormat::detect(&request.headers, &request.body).ok()? {
        BodyFormat::Form => {
            let text = std::str::from_utf8(&request.body).ok()?;
            replace_in_pairs(text, fields, replace).map(Bytes::from)
        }
        BodyFormat::Multipart(boundary) => {
            replace_in_parts(&request.body, &boundary, fields, replace)
        }
        BodyFormat::Json => {
            let mut tree = body::parse_json(&request.body).ok()?;
            let is_changed = fields.iter().fold(false, |is_changed, field| {
                field.replace_in_json(&mut tree, replace) | is_changed
            });
            is_changed.then(|| tree.to_string().into())
        }
        BodyFormat::Empty | BodyFormat::Other(_) => None,
    }
}

/// Urlencoded pairs; others keep their bytes. None: nothing changed.
fn replace_in_pairs(
    text: &str,
    fields: &[RecipientField<'_>],
    replace: &impl Fn(&str) -> Option<Msisdn>,
) -> Option<String> {
    let mut is_changed = false;
    let pairs: Vec<String> = text
        .split('&')
        .map(|pair| {
            let new = replaced_pair(pair, fields, replace);
            is_changed |= new.is_some();
            new.unwrap_or_else(|| pair.to_owned())
        })
        .collect();
    is_changed.then(|| pairs.join("&"))
}

fn replaced_pair(
    pair: &str,
    fields: &[RecipientField<'_>],
    replace: &impl Fn(&str) -> Option<Msisdn>,
) -> Option<String> {
    let (name, value) = pair.split_once('=')?;
    let name = body::decode_component(name)?;
    let value = body::decode_component(value)?;
    let mut fields = fields.iter().filter(|field| field.has_name(&name));
    let new = fields.find_map(|field| field.replace_field(&value, replace))?;
    Some(encode_pair(&name, &Value::from(new)))
}

fn replace_in_parts(
    bytes: &Bytes,
    boundary: &str,
    fields: &[RecipientField<'_>],
    replace: &impl Fn(&str) -> Option<Msisdn>,
) -> Option<Bytes> {
    let mut is_changed = false;
    let mut out: Vec<Vec<u8>> = Vec::new();
    for part in multipart::parts(bytes, boundary).ok()? {
        let value = std::str::from_utf8(part.value).unwrap_or_default();
        let mut fields = fields.iter().filter(|field| field.has_name(&part.name));
        let new = fields.find_map(|field| field.replace_field(value, replace));
        is_changed |= new.is_some();
        out.push(new.map_or_else(
            || part.raw.to_vec(),
            |new| multipart::encode_part(&part.name, &new),
        ));
    }
    is_changed.then(|| multipart::join_parts(out.iter().map(Vec::as_slice), boundary).into())
}
