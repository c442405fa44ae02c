//! Whether a value stands where a credential should be: nothing, a word for a variable that is not set, the name of
//! a variable, or the placeholder of an example. The one table for backends' requests and for vaults' values: nothing in
//! it may be a secret that somebody has.

/// Words that programs write for a variable that is not set.
const UNSET_WORDS: &[&str] = &[
    "undefined",
    "null",
    "(null)",
    "nan",
    "none",
    "nil",
    "false",
    "true",
    "[object Object]",
    "[object Promise]",
];

/// Words of which the placeholders of examples consist, in this order: `your_api_key`, `insert-token-here`.
const EXAMPLE_BEGINS: &[&str] = &["your", "insert", "enter", "put", "replace"];
const EXAMPLE_WORDS: &[&str] = &[
    "access",
    "account",
    "api",
    "auth",
    "client",
    "credential",
    "credentials",
    "email",
    "here",
    "id",
    "key",
    "login",
    "me",
    "my",
    "name",
    "pass",
    "passwd",
    "password",
    "pwd",
    "secret",
    "service",
    "sid",
    "sms",
    "the",
    "this",
    "token",
    "user",
    "username",
    "value",
    "with",
    "your",
];

/// Why a value cannot be a credential, as a predicate; none: it can be one.
pub fn unset_problem(value: &str) -> Option<String> {
    let value = value.trim();
    let word = UNSET_WORDS
        .iter()
        .find(|word| value.eq_ignore_ascii_case(word));
    if value.is_empty() {
        Some("is empty".to_owned())
    } else if let Some(word) = word {
        Some(format!(
            "is `{word}`, which programs write for a variable that is not set"
        ))
    } else if is_variable_name(value) {
        Some("is the name of a variable, which nothing expanded".to_owned())
    } else if is_example(value) {
        Some("is the placeholder of an example; the real value belongs there".to_owned())
    } else if is_mask(value) {
        Some("is a mask, which was shown in place of the real value".to_owned())
    } else {
        None
    }
}

/// `${NAME}`, `{{ name }}`, `process.env.NAME`, `%NAME%`, `$SMS_NAME`. A `$` alone can begin a password: the name of a
/// variable has capitals and an underscore.
fn is_variable_name(value: &str) -> bool {
    let between = |open: &str, close: &str| value.strip_prefix(open)?.strip_suffix(close);
    let is_name = |name: &str| {
        let is_letter = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        name.starts_with(|c: char| c.is_ascii_uppercase()) && name.chars().all(is_letter)
    };
    let has_words = |name: &str| name.trim_matches('_').contains('_');
    between("${", "}").is_some()
        || between("{{", "}}").is_some()
        || value.starts_with("process.env.")
        || between("%", "%").is_some_and(is_name)
        || value
            .strip_prefix('$')
            .is_some_and(|name| is_name(name) && has_words(name))
}

/// `<password>`, `your_password`, `INSERT-TOKEN-HERE`.
fn is_example(value: &str) -> bool {
    let is_text = |c: char| c.is_alphabetic() || matches!(c, ' ' | '_' | '-');
    let named = value
        .strip_prefix('<')
        .and_then(|rest| rest.strip_suffix('>'));
    if let Some(name) = named {
        return name.starts_with(char::is_alphabetic) && name.chars().all(is_text);
    }
    let lower = value.to_ascii_lowercase();
    let mut words = lower.split(['_', '-', ' ']);
    words
        .next()
        .is_some_and(|first| EXAMPLE_BEGINS.contains(&first))
        && words.clone().next().is_some()
        && words.all(|word| EXAMPLE_WORDS.contains(&word))
}

/// `********`, `xxxx`: the same mark and nothing else.
fn is_mask(value: &str) -> bool {
    const SHORTEST: usize = 3;
    ['*', '•', 'x', 'X'].iter().any(|mark| {
        value.chars().count() >= SHORTEST && value.chars().all(|character| character == *mark)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_for_a_credential_is_not_one() {
        for (value, words) in [
            ("", "is empty"),
            (" \t", "is empty"),
            ("undefined", "is `undefined`"),
            ("NULL", "is `null`"),
            ("false", "is `false`"),
            ("True", "is `true`"),
            ("[object Object]", "is `[object Object]`"),
            ("${PLAYMOBILE_PASSWORD}", "name of a variable"),
            ("{{ password }}", "name of a variable"),
            ("process.env.SMS_PASSWORD", "name of a variable"),
            ("$PLAYMOBILE_PASSWORD", "name of a variable"),
            ("%PW%", "name of a variable"),
            ("%SMS_PASSWORD%", "name of a variable"),
            ("<password>", "placeholder of an example"),
            ("<your API key>", "placeholder of an example"),
            ("<пароль>", "placeholder of an example"),
            ("your_password", "placeholder of an example"),
            ("YOUR-API-KEY", "placeholder of an example"),
            ("your password here", "placeholder of an example"),
            ("insert_token_here", "placeholder of an example"),
            ("replace-me", "placeholder of an example"),
            ("********", "is a mask"),
            ("xxxxxxxx", "is a mask"),
        ] {
            let problem = unset_problem(value).unwrap_or_else(|| panic!("{value:?} can be one"));
            assert!(problem.contains(words), "{value:?}: {problem}");
        }
    }

    #[test]
    fn what_may_be_a_secret_is_not_held_back() {
        for value in [
            "nullable",
            "falsehood",
            "$ecret",
            "$TRONG",
            "$A1B2C3D4",
            "$_",
            "$A_",
            "p$SMS_PASSWORD",
            "$sms_password",
            "100%",
            "%",
            "%%",
            "%a1B2%",
            "%1A%",
            "<",
            "<>",
            "<3>",
            "<a1>",
            "<password",
            "password",
            "changeme",
            "your",
            "yourpassword",
            "your-horse-battery",
            "your_password1",
            "key",
            "xx",
            "xyx",
            "**",
            "{x}",
            "a${B}",
            "sms-sidecars",
        ] {
            assert_eq!(unset_problem(value), None, "{value:?}");
        }
    }
}
