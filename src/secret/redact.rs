//! The one function that takes secrets out of foreign text: it finds each secret, or the greater part
//! of one, however a service may have written it, and replaces what stands for it in the text. Does not
//! look for secrets shorter than [`MIN_SECRET_LEN`]: ordinary text contains them.

use std::sync::Arc;

use crate::secret::search::{
    Compared, Finder, MatchRule, Needle, TooMuchWork, decoded_forms, without_blanks,
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
        let needles = secrets
            .into_iter()
            .filter(|secret| secret.len() >= MIN_SECRET_LEN)
            .flat_map(decoded_forms)
            .flat_map(|form| parts(&spelling(&form)))
            .map(|text| Needle {
                text,
                rule: MatchRule::Anywhere,
            });
        Self {
            finder: Finder::new(needles.collect(), Compared::LettersAndDigits).map(Arc::new),
        }
    }

    /// The text with everything that stands for a secret replaced; none if there is nothing of that kind in it.
    pub(crate) fn redact_bytes(&self, text: &[u8]) -> Result<Option<Vec<u8>>, TooMuchWork> {
        Finder::conceal(self.finder.as_deref(), text)
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
fn spelling(secret: &str) -> String {
    let counted = Compared::LettersAndDigits.text(secret);
    if counted.chars().count() >= MIN_SECRET_LEN {
        return counted;
    }
    let visible = without_blanks(secret);
    if visible.chars().count() >= MIN_SPELLING_LEN {
        visible
    } else {
        String::new()
    }
}

/// Every part of a spelling that has three quarters of it.
fn parts(spelling: &str) -> Vec<String> {
    let characters: Vec<char> = spelling.chars().collect();
    let length = (characters.len() * 3)
        .div_ceil(4)
        .max(MIN_SECRET_LEN)
        .min(characters.len())
        .max(1);
    let all = characters.windows(length).map(|part| part.iter().collect());
    if characters.len() <= MAX_PARTED_LEN {
        return all.collect();
    }
    let last = characters.len() - length;
    all.enumerate()
        .filter(|(at, _)| *at == 0 || *at == last)
        .map(|(_, part)| part)
        .collect()
}

#[cfg(test)]
mod tests;
