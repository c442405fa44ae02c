//! Where the parts of `[send]` are in the file, for the checks of the whole description.

use std::ops::Range;

/// The spans that the checks underline.
#[derive(Debug, Default)]
pub(crate) struct SendSpans {
    /// One per compiled rule, in their order.
    pub(crate) rules: Vec<Range<usize>>,
    /// The value of each mapped field, by the field's name.
    pub(crate) fields: Vec<(String, Range<usize>)>,
    pub(crate) success: Vec<Range<usize>>,
    /// The value of `endpoint`.
    pub(crate) send: Option<Range<usize>>,
    /// A field had an error and was left out: an unmapped source is then a consequence.
    pub(crate) has_errors: bool,
}
