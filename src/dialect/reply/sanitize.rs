//! Makes a service's own message safe for a log: removes control characters, masks numbers and
//! what it repeats of the text, and cuts it.

use crate::dialect::Classification;

const MAX_MESSAGE_CHARS: usize = 200;
/// A shorter text is not a secret, and is part of many words.
const MIN_REDACTED_CHARS: usize = 3;

impl Classification {
    /// Masks the message's text in the service's message: some services repeat what they reject.
    pub fn redact_text(&mut self, text: &str) {
        let Some(says) = &mut self.provider_message else {
            return;
        };
        let own = normalize(text);
        if own.chars().count() >= MIN_REDACTED_CHARS {
            *says = redact(says, &own);
        }
    }
}

fn redact(says: &str, own: &str) -> String {
    let out = says.replace(own, "***");
    if says.chars().count() < MAX_MESSAGE_CHARS {
        return out;
    }
    // If the message was cut, the text in it may have been cut, too.
    let prefixes = own
        .char_indices()
        .map(|(at, _)| at)
        .take(MAX_MESSAGE_CHARS)
        .skip(MIN_REDACTED_CHARS)
        .filter_map(|at| own.get(..at));
    let cut = prefixes
        .filter_map(|prefix| out.strip_suffix(prefix))
        .last();
    cut.map(|kept| format!("{kept}***")).unwrap_or(out)
}

/// Foreign text without control characters and long numbers, cut to its limit.
pub(crate) fn sanitize(text: &str) -> String {
    normalize(text).chars().take(MAX_MESSAGE_CHARS).collect()
}

fn normalize(text: &str) -> String {
    let visible: String = text
        .chars()
        .map(|c| {
            if c.is_control() || is_invisible(c) {
                ' '
            } else {
                c
            }
        })
        .collect();
    mask_numbers(&visible.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Masks numbers: a phone number keeps its first three and last two digits, other long numbers keep none.
fn mask_numbers(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, number)) = rest
        .find(|c: char| c.is_ascii_digit())
        .and_then(|at| rest.split_at_checked(at))
    {
        let digits: Vec<char> = number
            .chars()
            .take(number_length(number))
            .filter(char::is_ascii_digit)
            .collect();
        let run = number.chars().take_while(char::is_ascii_digit).count();
        out.push_str(before);
        let length = match digits.as_slice() {
            [head @ .., before_last, last] if digits.len() > 8 => {
                out.extend(head.iter().take(3));
                out.push_str("*****");
                out.extend([before_last, last]);
                number_length(number)
            }
            _ if run > 3 => {
                out.push_str("****");
                run
            }
            _ => {
                out.extend(digits.iter().take(run));
                run
            }
        };
        rest = number.get(length..).unwrap_or_default();
    }
    out + rest
}

/// The length of a number that can have blanks, dashes and brackets in it.
fn number_length(number: &str) -> usize {
    let mut end = 0;
    let mut gap = 0;
    for (at, c) in number.char_indices() {
        match c {
            '0'..='9' => {
                end = at + 1;
                gap = 0;
            }
            ' ' | '-' | '(' | ')' if gap < 2 => gap += 1,
            _ => break,
        }
    }
    end
}

fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sms::{Cause, Certainty, Outcome};

    #[test]
    fn foreign_words_are_made_fit_for_a_log() {
        assert_eq!(
            sanitize("bad\r\nnumber +998901234567, code 123456\u{202e}!"),
            "bad number +998*****67, code **** !"
        );
        assert_eq!(
            sanitize("no 998 90 123-45-67, +998 (90) 123 45 67; 203.0.113.55 is new"),
            "no 998*****67, +998*****67; 203.0.113.55 is new"
        );
        assert_eq!(
            sanitize("code 12 of 34, 5 parts, 12-34-56"),
            "code 12 of 34, 5 parts, 12-34-56"
        );
        assert_eq!(
            sanitize(&"ў".repeat(500)).chars().count(),
            MAX_MESSAGE_CHARS
        );
    }

    #[test]
    fn the_messages_own_words_are_taken_out_of_an_error() {
        let sanitized = |says: &str, text: &str| {
            let mut finding = Classification {
                outcome: Outcome::Rejected(Cause::MessageInvalid),
                certainty: Certainty::Certain,
                alternatives: Vec::new(),
                code: None,
                provider_message: Some(sanitize(says)),
                retry_after: None,
            };
            finding.redact_text(text);
            finding.provider_message.unwrap()
        };
        assert_eq!(
            sanitized("text \"Kod:  123456\\n\" is not approved", "Kod: 123456"),
            "text \"***\\n\" is not approved"
        );
        assert_eq!(
            sanitized("Код: AB12CD — на модерации", "Код:\nAB12CD"),
            "*** — на модерации"
        );
        let (before, text) = ("x".repeat(MAX_MESSAGE_CHARS - 9), "Secret AB12CD for you");
        assert_eq!(
            sanitized(&format!("{before} {text}"), text),
            format!("{before} ***")
        );
        assert_eq!(sanitized("not ok", "ok"), "not ok");
    }
}
