//! The alphabet and the number of parts of a text (3GPP TS 23.038).

const BASIC: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";
const EXTENDED: &str = "\u{c}^{}\\[~]|€";

/// `gsm7` or `ucs2`.
pub(crate) fn alphabet(text: &str) -> &'static str {
    if septets(text).is_some() {
        "gsm7"
    } else {
        "ucs2"
    }
}

/// The number of parts that the operator sends.
pub(crate) fn segments(text: &str) -> usize {
    let (length, single, part) = match septets(text) {
        Some(septets) => (septets, 160, 153),
        None => (text.encode_utf16().count(), 70, 67),
    };
    if length <= single {
        1
    } else {
        length.div_ceil(part)
    }
}

fn septets(text: &str) -> Option<usize> {
    text.chars()
        .map(|c| {
            if BASIC.contains(c) {
                Some(1)
            } else {
                EXTENDED.contains(c).then_some(2)
            }
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alphabet_and_parts_at_their_borders() {
        for (text, wanted, parts) in [
            ("Kod: 123456".to_owned(), "gsm7", 1),
            ("a".repeat(160), "gsm7", 1),
            ("a".repeat(161), "gsm7", 2),
            ("€".repeat(80), "gsm7", 1),
            ("€".repeat(81), "gsm7", 2),
            ("a".repeat(307), "gsm7", 3),
            ("Код".to_owned(), "ucs2", 1),
            ("ў".repeat(70), "ucs2", 1),
            ("ў".repeat(71), "ucs2", 2),
            ("😀".repeat(35), "ucs2", 1),
            ("😀".repeat(36), "ucs2", 2),
            (String::new(), "gsm7", 1),
        ] {
            assert_eq!(
                (alphabet(&text), segments(&text)),
                (wanted, parts),
                "{} characters",
                text.chars().count()
            );
        }
    }
}
