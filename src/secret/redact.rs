//! The one function that takes secrets out of foreign text: it finds each secret, or the greater part
//! of one, however a service may have written it, and replaces what stands for it in the text. Does not
//! look for secrets shorter than [`MIN_SECRET_LEN`]: ordinary text contains them.

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::secret::search::{
    Compared, Finder, MatchRule, Needles, TooMuchWork, decoded_forms, without_blanks,
};

/// The least number of bytes of a secret that is searched for, and of characters of a part of it.
const MIN_SECRET_LEN: usize = 8;
/// The same for a secret that reads as an encoding, decoded; and for one without its blanks.
const MIN_SPELLING_LEN: usize = 6;
/// In a longer secret only a beginning and an end are searched for, and not every part.
const MAX_PARTED_LEN: usize = 512;

/// Takes secrets out of foreign text. A clone shares what it looks for.
#[derive(Clone, Debug)]
pub struct Redactor {
    finder: Option<Arc<Finder>>,
}

impl Redactor {
    /// Looks for these secrets; the short ones are left out.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut needles = Needles::default();
        secrets
            .into_iter()
            .filter(|secret| secret.len() >= MIN_SECRET_LEN)
            .flat_map(decoded_forms)
            .for_each(|form| push_parts(&spelling(&form), &mut needles));
        Self {
            finder: Finder::new(needles, Compared::LettersAndDigits).map(Arc::new),
        }
    }

    /// The text with everything that stands for a secret replaced; none if there is nothing of that kind in it.
    pub(crate) fn redact_bytes(&self, text: &[u8]) -> Result<Option<Vec<u8>>, TooMuchWork> {
        let finders = self.finder.as_deref().map(std::slice::from_ref);
        Finder::conceal(finders.unwrap_or_default(), text)
    }

    /// The same for text. One that needs too much work is replaced as a whole.
    pub fn redact_text(&self, text: String) -> String {
        match self.redact_bytes(text.as_bytes()) {
            // Whole characters are replaced, so it stays UTF-8.
            Ok(Some(redacted)) => String::from_utf8_lossy(&redacted).into_owned(),
            Ok(None) => text,
            Err(TooMuchWork) => "***".to_owned(),
        }
    }
}

/// What of a secret is compared: its letters and digits, or, if they are too few, every character but blanks.
fn spelling(secret: &str) -> Zeroizing<Vec<char>> {
    // Neither is longer than the secret: no copy stays where a smaller buffer was.
    let mut spelling = Zeroizing::new(Vec::with_capacity(secret.len()));
    spelling.extend(Compared::LettersAndDigits.chars(secret));
    if spelling.len() < MIN_SECRET_LEN {
        spelling.clear();
        spelling.extend(without_blanks(secret));
        if spelling.len() < MIN_SPELLING_LEN {
            spelling.clear();
        }
    }
    spelling
}

/// Adds every part of a spelling that has three quarters of it.
fn push_parts(spelling: &[char], needles: &mut Needles) {
    let length = (spelling.len() * 3)
        .div_ceil(4)
        .max(MIN_SECRET_LEN)
        .min(spelling.len())
        .max(1);
    if spelling.len() <= MAX_PARTED_LEN {
        needles.push_windows(spelling.iter().copied(), length, MatchRule::Anywhere);
        return;
    }
    let beginning = spelling.iter().copied().take(length);
    needles.push(beginning, MatchRule::Anywhere);
    let end = spelling.iter().copied().skip(spelling.len() - length);
    needles.push(end, MatchRule::Anywhere);
}

#[cfg(test)]
mod tests;
