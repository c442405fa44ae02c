//! What a description says about accounts.
#![expect(missing_docs, reason = "replaced by the engine's own")]
use crate::dialect::Dialect;
#[derive(Debug)]
pub struct F {
    pub name: String,
    pub required: bool,
    pub env: Vec<String>,
}
pub(super) trait Facts {
    fn credential_fields(&self) -> &[F] {
        &[]
    }
    fn params(&self) -> &[F] {
        &[]
    }
    fn requires_experimental(&self) -> bool {
        false
    }
    fn base_url(&self) -> &str {
        "https://x.example"
    }
    fn test_senders(&self) -> &[String] {
        &[]
    }
    fn host_patterns(&self) -> Vec<String> {
        Vec::new()
    }
}
impl Facts for Dialect {}
