//! What is sent to, as tables, and the property that no number other than the two readings of the guide is reached.

use proptest::prelude::*;

use super::*;

fn plan(code: &str) -> NumberingPlan {
    NumberingPlan::of(code).unwrap()
}

/// What becomes of a text: the number, `as written`, or why nothing is sent.
fn judged(own: &str, routes: &[&str], text: &str) -> String {
    let own = (!own.is_empty()).then(|| plan(own));
    let plans: Vec<NumberingPlan> = routes.iter().map(|code| plan(code)).collect();
    let countries = RecipientCountries {
        own: own.as_ref(),
        routes: plans.iter().collect(),
    };
    match countries.judge(text) {
        Ok(RecipientForm::AsWritten) => "as written".to_owned(),
        Ok(RecipientForm::Completed(number)) => number.to_e164(),
        Err(RecipientFault::Unfit(_)) => "unfit".to_owned(),
        Err(RecipientFault::OtherRoute(code)) => format!("of +{code}"),
        Err(RecipientFault::List) => "list".to_owned(),
        Err(RecipientFault::Field(name)) => name,
    }
}

#[test]
fn a_number_is_completed_in_the_country_of_its_route_only() {
    for (own, routes, text, expected) in [
        ("998", vec!["998"], "901234567", "+998901234567"),
        ("998", vec!["998"], "998901234567", "as written"),
        ("998", vec!["998"], "77011234567", "as written"),
        ("998", vec!["998"], "9012345678", "unfit"),
        // Several countries: the route decides, and what it does not read itself may be another one's.
        ("998", vec!["998", "7"], "7011234567", "unfit"),
        ("998", vec!["998", "7"], "4512345678", "of +7"),
        ("998", vec!["998", "62"], "998901234567", "as written"),
        ("7", vec!["998", "7"], "7011234567", "+77011234567"),
        ("1", vec!["998", "1"], "901234567", "unfit"),
        // A route without a country, after others with one.
        ("", vec!["998"], "901234567", "of +998"),
        ("", vec!["998", "7"], "90 123-45-67", "of +998"),
        ("", vec!["998"], "9012345678", "unfit"),
        ("", vec!["998"], "8901234567", "unfit"),
        ("", vec!["998"], "8 90 123 45 67", "unfit"),
        ("", vec!["998"], "810998901234567", "unfit"),
        ("", vec!["998"], "+99890123456", "unfit"),
        ("", vec!["998"], "77011234567", "as written"),
        ("", vec!["998"], "+77011234567", "as written"),
        ("", vec!["998"], "0077011234567", "as written"),
        ("", vec!["998"], "905321234567", "as written"),
        ("", vec!["998"], "whatsapp:+998901234567", "as written"),
        ("", vec!["998"], "", "as written"),
        // No country anywhere: every number is one abroad.
        ("", vec![], "901234567", "as written"),
        ("", vec![], "901234567;901234568", "as written"),
    ] {
        assert_eq!(
            judged(own, &routes, text),
            expected,
            "{own} {routes:?} {text}"
        );
    }
}

#[test]
fn a_list_passes_only_if_nothing_in_it_needs_a_country() {
    for separator in [",", ";", "\n", "\r\n", "|", "/", "<", "\t", " ; ", ",,"] {
        let list = |numbers: &[&str]| numbers.join(separator);
        for (own, routes) in [("998", vec!["998"]), ("", vec!["998"]), ("998", vec![])] {
            let judged = |numbers: &[&str]| judged(own, &routes, &list(numbers));
            assert_eq!(judged(&["901234567", "901234568"]), "list", "{separator:?}");
            assert_eq!(judged(&["998901234567", "901234568"]), "list");
            assert_eq!(judged(&["998901234567", "12345"]), "list");
            assert_eq!(judged(&["998901234567", "77011234567"]), "as written");
            assert_eq!(judged(&["+998901234567", "+77011234567"]), "as written");
        }
    }
    // A blank is a separator inside a number too: together they are too long for one.
    assert_eq!(judged("998", &["998"], "901234567 901234568"), "unfit");
}

#[test]
fn no_fault_names_a_number() {
    for (own, routes, text) in [
        ("998", vec!["998"], "9012345678"),
        ("", vec!["998"], "901234567"),
        ("", vec!["998"], "901234567;901234568"),
    ] {
        let own = (!own.is_empty()).then(|| plan(own));
        let plans: Vec<NumberingPlan> = routes.iter().map(|code| plan(code)).collect();
        let countries = RecipientCountries {
            own: own.as_ref(),
            routes: plans.iter().collect(),
        };
        let said = countries.judge(text).unwrap_err().to_string();
        assert!(!said.contains("9012345"), "{said}");
        assert!(said.contains("write"), "{said}");
    }
}

const CODES: [&str; 12] = [
    "998", "7", "1", "90", "49", "43", "39", "62", "86", "91", "375", "225",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    /// A text becomes the number as it is written, or the national number in the country of its route, or nothing.
    #[test]
    fn no_number_is_reached_but_the_two_of_the_guide(
        text in "[+]?(00)?[0-9]{3,16}|[0-9]{2}[ -]?[0-9]{3}[ .-]?[0-9]{2}[ -]?[0-9]{2}",
        own in proptest::option::of(0..CODES.len()),
        others in proptest::collection::vec(0..CODES.len(), 0..4),
    ) {
        let own = own.map(|at| plan(CODES[at]));
        let others: Vec<NumberingPlan> = others.iter().map(|at| plan(CODES[*at])).collect();
        let countries = RecipientCountries {
            own: own.as_ref(),
            routes: others.iter().chain(&own).collect(),
        };
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        match countries.judge(&text) {
            Ok(RecipientForm::Completed(number)) => {
                let own = own.as_ref().expect("only a country completes");
                let national = number.digits().strip_prefix(own.code()).expect("its code");
                // Only a prefix of national calls is dropped.
                prop_assert!(digits.ends_with(national), "{text}: {}", number.digits());
                prop_assert!(digits.len() - national.len() <= 2, "{text}: {}", number.digits());
                prop_assert!(!text.starts_with('+') && !text.starts_with("00"), "{text}");
            }
            Ok(RecipientForm::AsWritten) => {
                // No country of the config reads it as a national number, unless it is complete in its own.
                let is_own = own.as_ref().is_some_and(|plan| plan.is_own(&text));
                for plan in countries.routes {
                    let is_national = matches!(plan.read(&text), NumberReading::National(_));
                    prop_assert!(is_own || !is_national, "{text} in +{}", plan.code());
                }
            }
            Err(_) => {}
        }
    }
}
