//! The credentials that a backend's request has: they are removed before it is sent, but can
//! identify the caller.

use crate::dialect::expr::template::{ValueSource, to_text};
use crate::dialect::model::{FieldMapping, FieldValue};
use crate::dialect::request::recognise::best_effort_fields;
use crate::dialect::{Dialect, Request};

impl Dialect {
    /// The values of the fields and headers that this dialect fills with a secret of the account.
    pub fn presented_credentials(&self, request: &Request) -> Vec<String> {
        let fields = &self.send.fields;
        let login = self.token.iter().flat_map(|token| &token.fields.body);
        let named: Vec<&FieldMapping> = fields
            .body
            .iter()
            .chain(&fields.query)
            .chain(login)
            .filter(|field| self.holds_secret(&field.value))
            .collect();
        let headers = fields
            .header
            .iter()
            .filter(|field| self.holds_secret(&field.value))
            .filter_map(|field| {
                let value = request.headers.get(&field.path.text)?;
                value.to_str().ok().map(str::to_owned)
            });
        let mut values: Vec<String> = headers.collect();
        if !named.is_empty() {
            let tree = best_effort_fields(request);
            values.extend(
                named
                    .iter()
                    .flat_map(|field| field.path.find_all(&tree))
                    .map(to_text),
            );
        }
        values
    }

    fn holds_secret(&self, form: &FieldValue) -> bool {
        let public = |name: &str| {
            self.credential
                .iter()
                .any(|spec| spec.public && spec.name == name)
        };
        form.any_source(|source| matches!(source, ValueSource::Credential(name) if !public(name)))
    }
}
