//! What a backend's request holds where the service has its password or key: dropped on the
//! way out, but a caller may be known by it.

use crate::dialect::recognise::loose_fields;
use crate::dialect::shape::{Field, Form};
use crate::dialect::template::{Source, text_of};
use crate::dialect::{Dialect, Request};

impl Dialect {
    /// The values in fields and headers of this dialect's own that hold a secret of the account.
    pub fn given_credentials(&self, request: &Request) -> Vec<String> {
        let fields = &self.send.fields;
        let login = self.token.iter().flat_map(|token| &token.fields.body);
        let named: Vec<&Field> =
            fields.body.iter().chain(&fields.query).chain(login).filter(|field| self.holds_secret(&field.form)).collect();
        let headers = fields.header.iter().filter(|field| self.holds_secret(&field.form)).filter_map(|field| {
            let value = request.headers.get(&field.place.text)?;
            value.to_str().ok().map(str::to_owned)
        });
        let mut given: Vec<String> = headers.collect();
        if !named.is_empty() {
            let tree = loose_fields(request);
            given.extend(named.iter().flat_map(|field| field.place.all(&tree)).map(text_of));
        }
        given
    }

    fn holds_secret(&self, form: &Form) -> bool {
        let public = |name: &str| self.credential.iter().any(|spec| spec.public && spec.name == name);
        form.has(|source| matches!(source, Source::Credential(name) if !public(name)))
    }
}
