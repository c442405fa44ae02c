//! What a description says about accounts.
use crate::dialect::Dialect;
use crate::secret::Credential;
pub(crate) struct F {
    pub(crate) name: String,
    pub(crate) required: bool,
    pub(crate) env: Vec<String>,
    pub(crate) default: Option<String>,
    pub(crate) integer: bool,
}
pub(crate) struct S {
    pub(crate) field: String,
    pub(crate) what: String,
}
pub(crate) trait Facts {
    fn credential_fields(&self) -> &[F] {
        &[]
    }
    fn params(&self) -> &[F] {
        &[]
    }
    fn requires_experimental(&self) -> bool {
        false
    }
    fn base_url(&self) -> &'static str {
        "https://x.example"
    }
    fn test_senders(&self) -> &[String] {
        &[]
    }
    fn host_patterns(&self) -> Vec<String> {
        Vec::new()
    }
    fn check_credential(&self, _: &Credential) -> Vec<S> {
        Vec::new()
    }
}
impl Facts for Dialect {}
