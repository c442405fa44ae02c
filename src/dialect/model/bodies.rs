//! The encodings of a body that a service takes.

use crate::dialect::model::BodyEncoding;

/// How a body is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyKind {
    Form,
    Multipart,
    Json,
    /// A form or JSON without a content type of its own: none, or `text/plain`.
    Text,
}

impl BodyKind {
    pub(crate) const fn media_type(self) -> &'static str {
        match self {
            Self::Form => "application/x-www-form-urlencoded",
            Self::Multipart => "multipart/form-data",
            Self::Json => "application/json",
            Self::Text => "text/plain",
        }
    }
}

/// The encodings that a service takes; none: it reads no body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AcceptedBodies(Vec<BodyKind>);

impl AcceptedBodies {
    /// The encoding that the description writes, and the others that it lists.
    pub(crate) fn new(written: BodyEncoding, others: &[BodyKind]) -> Self {
        let written = match written {
            BodyEncoding::NoBody => None,
            BodyEncoding::Json => Some(BodyKind::Json),
            BodyEncoding::Form => Some(BodyKind::Form),
            BodyEncoding::Multipart => Some(BodyKind::Multipart),
        };
        let mut kinds: Vec<BodyKind> = written.into_iter().collect();
        for kind in others {
            if !kinds.contains(kind) {
                kinds.push(*kind);
            }
        }
        Self(kinds)
    }

    pub(crate) fn contains(&self, kind: BodyKind) -> bool {
        self.0.contains(&kind)
    }

    /// `application/json`, `application/x-www-form-urlencoded or multipart/form-data`.
    pub(crate) fn describe(&self) -> String {
        if self.0.is_empty() {
            return "all fields in the query".to_owned();
        }
        let types: Vec<&str> = self.0.iter().map(|kind| kind.media_type()).collect();
        types.join(" or ")
    }
}
