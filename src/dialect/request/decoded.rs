//! What was read from a backend's request: the message, and the fields that an answer may quote.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;

use serde_json::Value;

use crate::dialect::RecognisedRequest;
use crate::dialect::request::recognise::merge_query;
use crate::dialect::wire::body::BodyTree;
use crate::sms::Message;

/// A backend's request, decoded.
#[derive(Clone, Debug)]
pub struct DecodedRequest {
    /// The message; none for a batch, or a recipient that is not a phone number (the request is then provider-specific).
    pub message: Option<Message>,
    /// The fields that a message cannot express; not empty: the request is provider-specific.
    pub untranslatable_fields: Vec<String>,
    /// The number of recipients.
    pub recipient_count: usize,
    /// The recipients as the backend wrote them.
    pub recipients: RecipientTexts,
    /// The backend's own fields, for the answer.
    pub fields: RequestFields,
}

/// Recipients as a backend wrote them. They are numbers of people: prints only how many.
#[derive(Clone, Default)]
pub struct RecipientTexts(pub(crate) Vec<String>);

impl RecipientTexts {
    /// The texts.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl fmt::Debug for RecipientTexts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecipientTexts({})", self.0.len())
    }
}

impl DecodedRequest {
    /// Whether only providers of this dialect may take it.
    pub fn is_provider_specific(&self) -> bool {
        self.message.is_none() || !self.untranslatable_fields.is_empty()
    }
}

/// The fields of the backend's request, for the answer. They can hold the backend's secrets: prints nothing.
#[derive(Clone, Default)]
pub struct RequestFields {
    body: BodyTree,
    query: Value,
    path_params: BTreeMap<String, String>,
    merged: OnceLock<Value>,
}

impl fmt::Debug for RequestFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RequestFields(…)")
    }
}

impl RequestFields {
    /// Those of body and query, and what the path's holes held.
    pub(super) fn new(body: BodyTree, query: Value, recognised: &RecognisedRequest) -> Self {
        Self {
            body,
            query,
            path_params: recognised.path_params.clone(),
            merged: OnceLock::new(),
        }
    }

    /// One tree of body, query and, under `path`, what the path's holes held; made when an answer first asks for it.
    pub(crate) fn tree(&self) -> &Value {
        self.merged.get_or_init(|| {
            let mut tree = merge_query(self.body.clone().into_tree(), self.query.clone());
            let path = self.path_params.iter();
            let path = path.map(|(name, value)| (name.clone(), Value::from(value.as_str())));
            if let Value::Object(map) = &mut tree {
                map.insert("path".into(), Value::Object(path.collect()));
            }
            tree
        })
    }
}
