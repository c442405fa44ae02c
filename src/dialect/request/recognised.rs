//! What recognition takes and returns: where a request was addressed to, and which operation of
//! which dialect it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::dialect::model::endpoint::Endpoint;
use crate::dialect::{Dialect, RequestReadError};
use crate::sms::Operation;

/// The address of the request, as the entrypoint received it.
#[derive(Clone, Copy, Debug)]
pub enum RequestTarget<'a> {
    /// A host was named: CONNECT's target or the absolute URI (never a Host header inside CONNECT).
    Host(&'a str),
    /// The base-URL entrypoint: the first path segment named this dialect and was removed.
    Named(&'a Arc<Dialect>),
    /// Only method and path are known (unix socket).
    Unspecified,
}

/// What a request was recognised as.
#[derive(Clone, Debug)]
pub enum Recognition {
    /// An operation that a dialect names.
    Operation(RecognisedRequest),
    /// A dialect's host or name, but not an operation that it names.
    UnlistedOperation(UnlistedRequest),
    /// Not the host of any dialect.
    Unrecognised,
}

/// A request to a dialect that is not one of its operations.
#[derive(Clone, Debug)]
pub struct UnlistedRequest {
    /// The dialect.
    pub dialect: Arc<Dialect>,
    /// What is wrong with a request at the path of an operation; none: no operation has this path.
    pub fault: Option<OperationFault>,
}

/// What keeps a request at the path of an operation from being that operation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OperationFault {
    /// A field of `where` is elsewhere, twice, or in another spelling.
    #[error(
        "the field `{field}` selects the operation, so it must be there once, spelt like this, in the {place}"
    )]
    Ambiguous {
        /// The field, as the description names it.
        field: String,
        /// Where the service has it.
        place: &'static str,
    },
    /// A field that the operation does not name. A name that can be a value is not kept.
    #[error(transparent)]
    UnlistedField(Box<UnlistedField>),
    /// A `;` between the fields, where some services begin another one.
    #[error(
        "write the `;` in the fields of the request as %3B: some services begin another field there"
    )]
    Semicolon,
    /// The body that has the fields cannot be read.
    #[error(transparent)]
    Unreadable(RequestReadError),
}

/// A field that an operation does not name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{endpoint}` takes {}, and not {}; leave it out", listed(.fields), shown(.field.as_deref()))]
pub struct UnlistedField {
    /// The operation.
    pub(crate) endpoint: String,
    /// The field.
    pub(crate) field: Option<String>,
    /// What it takes beside the account's fields.
    pub(crate) fields: Vec<String>,
}

fn listed(fields: &[String]) -> String {
    match fields {
        [] => "no field but the account's own".to_owned(),
        fields => fields.join(", "),
    }
}

fn shown(field: Option<&str>) -> String {
    match field {
        Some(field) => format!("`{field}`"),
        None => "a field whose name is not shown here".to_owned(),
    }
}

/// A request matched to an operation.
#[derive(Clone, Debug)]
pub struct RecognisedRequest {
    /// Its dialect.
    pub dialect: Arc<Dialect>,
    /// The operation.
    pub operation: Operation,
    /// The matching part of the description.
    pub(crate) matched: MatchedOperation,
    /// The values of the path's holes.
    pub(crate) path_params: BTreeMap<String, String>,
}

/// Which part of a description a request matched.
#[derive(Clone, Debug)]
pub(crate) enum MatchedOperation {
    /// `[send]`.
    Send,
    /// `[token]`.
    Login,
    /// One of `[[operations]]`.
    Operation(usize),
    /// A provider's own `operations`.
    ProviderOperation(Box<Endpoint>),
}
