//! The fields that an operation names. Any other one can make something else of it: `add` makes a list of senders
//! a new sender. Such a request does not get the account's credential.

use crate::dialect::expr::template::ValueSource;
use crate::dialect::model::codes::glob_match;
use crate::dialect::model::{OperationSpec, SendSpec};
use crate::dialect::request::match_fields::{PlacedField, PlacedFields};
use crate::dialect::{OperationFault, Request, UnlistedField};
use crate::sms::Operation;

/// The longest name that is shown.
const MAX_SHOWN_NAME: usize = 40;

impl OperationSpec {
    /// Whether the request has fields of this operation only, in a body that the service reads.
    pub(super) fn check_fields(
        &self,
        request: &Request,
        send: &SendSpec,
        fields: &PlacedFields,
    ) -> Result<(), OperationFault> {
        if !matches!(self.operation, Operation::Passthrough | Operation::Status) {
            return Ok(());
        }
        let accepts = self.accepts.as_ref().unwrap_or(&send.accepts);
        fields
            .check_body(request, accepts)
            .map_err(OperationFault::Unreadable)?;
        let is_listed = |name: &str| self.has_field(name) || send.is_account_field(name);
        match fields.find_other(is_listed) {
            None => Ok(()),
            Some(field) if field.is_after_semicolon() => Err(OperationFault::Semicolon),
            Some(field) => Err(OperationFault::UnlistedField(Box::new(UnlistedField {
                endpoint: self.endpoint.to_string(),
                field: shown_name(field),
                fields: self.field_names().map(str::to_owned).collect(),
            }))),
        }
    }

    /// The fields that a request may have beside the account's.
    pub(crate) fn field_names(&self) -> impl Iterator<Item = &str> {
        let selecting = self.required_values.iter().map(|(name, _)| name.as_str());
        let selecting = selecting.filter(|name| !name.contains('-'));
        let id = self.id_path.as_ref().map(|path| first_name(&path.text));
        let default_id = self.operation == Operation::Status && id.is_none();
        selecting
            .chain(id)
            .chain(default_id.then_some("id"))
            .chain(self.fields.iter().map(String::as_str))
    }

    fn has_field(&self, name: &str) -> bool {
        self.field_names().any(|listed| glob_match(listed, name))
    }
}

impl SendSpec {
    /// Whether a field holds a part of the account, which is replaced, or is always removed.
    fn is_account_field(&self, name: &str) -> bool {
        let is_of_account = |source: &ValueSource| source.belongs_to_account();
        let fields = self.fields.body.iter().chain(&self.fields.query);
        let mut account = fields
            .filter(|field| field.value.any_source(is_of_account))
            .map(|field| &field.path)
            .chain(&self.dropped);
        account.any(|path| first_name(&path.text) == name)
    }
}

/// The name at the top: `messages` of `messages[].id`.
pub(super) fn first_name(path: &str) -> &str {
    path.split(['.', '[', ':']).next().unwrap_or_default()
}

/// A name that is one: a field without a value, a number or a long text can be what nobody may see.
fn shown_name(field: &PlacedField) -> Option<String> {
    let name = field.name();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-.[]".contains(c);
    let digits = name.chars().filter(char::is_ascii_digit).count();
    let is_name = field.has_value()
        && name.len() <= MAX_SHOWN_NAME
        && digits <= 3
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(is_plain);
    is_name.then(|| name.to_owned())
}
