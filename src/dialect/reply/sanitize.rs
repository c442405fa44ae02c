//! Makes a service's own message safe for a log: removes control characters, masks numbers, and cuts
//! it.

use crate::secret::characters::{fold, is_invisible};

const MAX_MESSAGE_CHARS: usize = 200;
/// So many digits can be a phone number.
const MIN_PHONE_DIGITS: usize = 7;
/// The number of characters between two digits of a phone number.
const MAX_GAP: usize = 3;

/// Foreign text without control characters and long numbers, cut to its limit.
pub(crate) fn sanitize(text: &str) -> String {
    let visible: String = text
        .chars()
        .map(|c| {
            if c.is_control() || is_invisible(c) || matches!(c, '\u{2028}' | '\u{2029}') {
                ' '
            } else {
                c
            }
        })
        .collect();
    let line = visible.split_whitespace().collect::<Vec<_>>().join(" ");
    mask_numbers(&line)
        .chars()
        .take(MAX_MESSAGE_CHARS)
        .collect()
}

/// Masks numbers: a phone number keeps its first three and last two digits if it is long, other long numbers keep none.
/// An IP address stays, because a service says which one it does not allow.
fn mask_numbers(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, number)) = rest
        .find(|c: char| digit(c).is_some())
        .and_then(|at| rest.split_at_checked(at))
    {
        out.push_str(before);
        let length = match address(number) {
            Some(address) => {
                out.push_str(address);
                address.len()
            }
            None => mask_number(number, &mut out),
        };
        rest = number.get(length..).unwrap_or_default();
    }
    out + rest
}

/// Writes what is shown of the number at the beginning of this text. Returns the length of what that stands for.
fn mask_number(text: &str, out: &mut String) -> usize {
    let whole = text.get(..number_length(text)).unwrap_or_default();
    let digits: Vec<char> = whole.chars().filter_map(digit).collect();
    let run = || text.chars().take_while(|c| digit(*c).is_some());
    let run_length = run().map(char::len_utf8).sum();
    match digits.as_slice() {
        [head @ .., before_last, last] if digits.len() > 8 => {
            out.extend(head.iter().take(3));
            out.push_str("*****");
            out.extend([before_last, last]);
            whole.len()
        }
        _ if digits.len() >= MIN_PHONE_DIGITS => {
            out.push_str("****");
            whole.len()
        }
        _ if run().count() > 3 => {
            out.push_str("****");
            run_length
        }
        _ => {
            out.extend(run());
            run_length
        }
    }
}

/// A digit of any script.
fn digit(c: char) -> Option<char> {
    Some(fold(c)).filter(char::is_ascii_digit)
}

/// The IPv4 address that begins here.
fn address(text: &str) -> Option<&str> {
    let is_part = |c: char| c.is_ascii_digit() || c == '.';
    let end = text.find(|c| !is_part(c)).unwrap_or(text.len());
    let address = text.get(..end)?.trim_end_matches('.');
    let is_byte =
        |part: &str| part.parse::<u8>().is_ok() && (part == "0" || !part.starts_with('0'));
    let is_address = address.split('.').count() == 4 && address.split('.').all(is_byte);
    is_address.then_some(address)
}

/// The length of a number with what people write between its digits.
fn number_length(number: &str) -> usize {
    let mut end = 0;
    let mut gap = 0;
    for (at, c) in number.char_indices() {
        let is_separator = matches!(
            c,
            ' ' | '-' | '(' | ')' | '.' | '/' | '_' | '\u{a0}' | '\u{2010}'..='\u{2015}'
        );
        if digit(c).is_some() {
            end = at + c.len_utf8();
            gap = 0;
        } else if is_separator && gap < MAX_GAP {
            gap += 1;
        } else {
            break;
        }
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

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
        for (words, shown) in [
            ("no 998.90.123.45.67 here", "no 998*****67 here"),
            ("no 998/90/123/45/67", "no 998*****67"),
            ("no 998_90_123_45_67", "no 998*****67"),
            ("no 123-45-67", "no ****"),
            ("no 90\u{2013}123 \u{2013} 45.67", "no 901*****67"),
            (
                "no \u{ff19}\u{ff19}\u{ff18}\u{ff19}\u{ff10}\u{ff11}\u{ff12}\u{ff13}\u{ff14}\u{ff15}",
                "no 998*****45",
            ),
            ("address 10.0.0.1. Add it", "address 10.0.0.1. Add it"),
            ("5 \u{b2} of 7, 1.5 of 20", "5 \u{b2} of 7, 1.5 of 20"),
        ] {
            assert_eq!(sanitize(words), shown, "{words}");
        }
        assert_eq!(
            sanitize(&"ў".repeat(500)).chars().count(),
            MAX_MESSAGE_CHARS
        );
    }
}
