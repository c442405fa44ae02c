//! Makes a service's own message safe for a log: removes control characters, masks numbers, and cuts
//! it.

use crate::secret::characters::is_invisible;

const MAX_MESSAGE_CHARS: usize = 200;

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
        assert_eq!(
            sanitize(&"ў".repeat(500)).chars().count(),
            MAX_MESSAGE_CHARS
        );
    }
}
