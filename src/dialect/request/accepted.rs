//! Whether a service takes a body in its encoding. A body in another one has no fields for the service, whatever
//! they look like here.

use http::HeaderMap;

use crate::dialect::RequestReadError;
use crate::dialect::model::bodies::{AcceptedBodies, BodyKind};
use crate::dialect::wire::format::{self, BodyFormat};

impl AcceptedBodies {
    /// Whether a body of this format is one of them.
    pub(super) fn check(
        &self,
        headers: &HeaderMap,
        format: &BodyFormat,
    ) -> Result<(), RequestReadError> {
        let kind = match format {
            BodyFormat::Empty => return Ok(()),
            BodyFormat::Json => Some(BodyKind::Json),
            BodyFormat::Form => Some(BodyKind::Form),
            BodyFormat::Multipart(_) => Some(BodyKind::Multipart),
            BodyFormat::Other(_) => None,
        };
        let is_typed = !format::is_untyped(headers) || self.contains(BodyKind::Text);
        if is_typed && kind.is_some_and(|kind| self.contains(kind)) {
            return Ok(());
        }
        Err(RequestReadError::ContentType {
            found: format::media_name(headers),
            wanted: self.describe(),
        })
    }
}
