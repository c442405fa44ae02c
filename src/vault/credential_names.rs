//! Which variables of an `.env` file look like credentials, whether or not a description knows their
//! names, so that none of them is passed over in silence. By name and shape only; pure.

use crate::dialect::unset_problem;
use crate::vault::dotenv::DotenvVariable;

/// A variable that looks like a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CredentialVariable {
    pub(crate) name: String,
    /// Its name speaks of SMS, of one-time passwords, or of a service that a description knows.
    pub(crate) is_for_sms: bool,
    /// The description that its name speaks of.
    pub(crate) dialect: Option<String>,
}

/// A word of a name that speaks of a secret.
const SECRET_WORDS: [&str; 12] = [
    "KEY",
    "APIKEY",
    "SECRET",
    "TOKEN",
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "PASS",
    "PWD",
    "PSW",
    "CREDENTIAL",
    "CREDENTIALS",
];
/// A word of a name that speaks of an account; it counts only beside one of [`SMS_WORDS`] or a service's name.
const ACCOUNT_WORDS: [&str; 4] = ["LOGIN", "USERNAME", "USER", "SID"];
const SMS_WORDS: [&str; 2] = ["SMS", "OTP"];
/// A name that ends with one of these holds something about a secret, not the secret.
const ABOUT_WORDS: [&str; 13] = [
    "TTL",
    "EXPIRES",
    "EXPIRY",
    "EXPIRATION",
    "LIFETIME",
    "LENGTH",
    "FILE",
    "PATH",
    "DIR",
    "NAME",
    "ENABLED",
    "ALGORITHM",
    "ROUNDS",
];
/// Shorter values are settings.
const MIN_SECRET_CHARS: usize = 4;

/// The variables that look like credentials, by their last assignment, in the order of the names.
pub(crate) fn credential_variables(
    variables: &[DotenvVariable],
    dialects: &[&str],
) -> Vec<CredentialVariable> {
    let mut found: Vec<CredentialVariable> = Vec::new();
    for (at, variable) in variables.iter().enumerate() {
        let mut later = variables.iter().skip(at + 1);
        if later.all(|later| later.name != variable.name) {
            found.extend(credential_variable(variable, dialects));
        }
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    found
}

fn credential_variable(variable: &DotenvVariable, dialects: &[&str]) -> Option<CredentialVariable> {
    let name = variable.name.to_uppercase();
    let words: Vec<&str> = name.split(|c: char| !c.is_alphanumeric()).collect();
    let has = |list: &[&str]| words.iter().any(|word| list.contains(word));
    let dialect = dialects
        .iter()
        .filter(|dialect| words.contains(&dialect.to_uppercase().as_str()))
        .max_by_key(|dialect| dialect.len());
    let is_for_sms = dialect.is_some() || has(&SMS_WORDS);
    let is_about = words.last().is_some_and(|last| ABOUT_WORDS.contains(last))
        || words.first() == Some(&"PUBLIC")
        || words.windows(2).any(|pair| pair == ["PUBLIC", "KEY"]);
    let is_named = !is_about && (has(&SECRET_WORDS) || is_for_sms && has(&ACCOUNT_WORDS));
    let value = variable.value.trim();
    let is_value = value.chars().count() >= MIN_SECRET_CHARS && unset_problem(value).is_none();
    (is_value && (is_named || has_password_in_url(value))).then(|| CredentialVariable {
        name: variable.name.clone(),
        is_for_sms,
        dialect: dialect.map(|dialect| (*dialect).to_owned()),
    })
}

/// `postgres://user:password@host`.
fn has_password_in_url(value: &str) -> bool {
    let authority = value
        .split_once("://")
        .and_then(|(_, rest)| rest.split(['/', '?', '#']).next());
    let user_info = authority.and_then(|authority| authority.rsplit_once('@'));
    user_info.is_some_and(|(user_info, _)| {
        user_info
            .split_once(':')
            .is_some_and(|(_, password)| !password.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::dotenv;

    const DIALECTS: [&str; 3] = ["eskiz", "playmobile", "infobip"];

    fn found(line: &str) -> Option<(bool, Option<String>)> {
        let all = credential_variables(&dotenv::parse(line), &DIALECTS);
        let first = all.into_iter().next();
        first.map(|variable| (variable.is_for_sms, variable.dialect))
    }

    #[test]
    fn names_and_shapes_of_credentials_are_recognised() {
        for (line, dialect) in [
            ("PLAYMOBILE_API_KEY=abcd1234", Some("playmobile")),
            ("PLAYMOBILE_LOGIN=abcd1234", Some("playmobile")),
            ("SMS_API_KEY=abcd1234", None),
            ("SMS_API_SECRET=abcd1234", None),
            ("SMS_USER=oneport", None),
            ("OTP_GATEWAY_TOKEN=abcd1234", None),
            ("eskiz_password=abcd1234", Some("eskiz")),
            ("INFOBIP_APIKEY=abcd1234", Some("infobip")),
        ] {
            let expected = Some((true, dialect.map(str::to_owned)));
            assert_eq!(found(line), expected, "{line}");
        }
        for line in [
            "DB_PASSWORD=abcd1234",
            "JWT_SECRET=abcd1234",
            "AWS_SECRET_ACCESS_KEY=abcd1234",
            "PRIVATE_KEY=abcd1234",
            "DATABASE_URL=postgres://app:abcd@db/app",
            "REDIS_PASS=abcd1234",
        ] {
            assert_eq!(found(line), Some((false, None)), "{line}");
        }
    }

    #[test]
    fn settings_are_no_credentials() {
        for line in [
            "PORT=3000",
            "SMS_SENDER=3700",
            "SMS_URL=https://send.smsxabar.uz/broker-api/send",
            "SMS_API_KEY=",
            "SMS_API_KEY=undefined",
            "TOKEN_TTL=3600",
            "JWT_SECRET_FILE=/run/secrets/jwt",
            "VAPID_PUBLIC_KEY=abcd1234",
            "LOGIN_PAGE=/login",
            "KEYBOARD=qwerty",
            "DATABASE_URL=postgres://db/app",
            "USER=node",
        ] {
            assert_eq!(found(line), None, "{line}");
        }
    }

    #[test]
    fn the_last_assignment_counts() {
        assert_eq!(found("SMS_API_KEY=abcd1234\nSMS_API_KEY="), None);
    }
}
