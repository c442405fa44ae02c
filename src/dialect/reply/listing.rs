//! What a service lists for an account: whom it may send as, and which texts it may send. Read to compare with
//! a config; a list may be behind what was approved, so it settles no cause in the pipeline.

use regex::Regex;

use crate::dialect::expr::template::to_text;
use crate::dialect::model::{Probe, TemplateListing};
use crate::dialect::reply::classify::ParsedReply;
use crate::dialect::{Dialect, ProbeSubject, Reply};
use crate::sms::Msisdn;

/// A word in an example.
const WORD_PATTERN: &str = r"[\w-]+";
/// What no text holds.
const NEVER_PATTERN: &str = r"[^\s\S]";

/// How a text stands with the service, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Approval {
    /// It may be sent.
    Approved,
    /// Somebody there has yet to look at it.
    Pending,
    /// They said no.
    Rejected,
    /// What it was made from may be sent; whether other words may stand where ours has holes is not told.
    Similar,
    /// It is on the list, in a state that the description does not know.
    UnknownStatus,
    /// It is not on the list.
    Unlisted,
}

impl Approval {
    /// In one word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Pending => "pending",
            Self::Rejected => "rejected",
            Self::Similar => "alike",
            Self::UnknownStatus => "odd",
            Self::Unlisted => "unlisted",
        }
    }
}

impl Dialect {
    /// The question whose answer lists what the account may send under. It settles no cause, so it is none of the others.
    pub fn sender_probe(&self) -> Option<&Probe> {
        self.listing_probes
            .iter()
            .find(|probe| probe.about == ProbeSubject::Sender)
    }

    /// The question whose answer lists the texts that were given in for approval.
    pub fn template_probe(&self) -> Option<&Probe> {
        self.listing_probes
            .iter()
            .find(|probe| probe.about == ProbeSubject::Template)
    }

    /// What no call tells that is free and was seen to work: only a send shows it.
    pub fn unprobed_subjects(&self) -> Vec<ProbeSubject> {
        let told = |asks: &ProbeSubject| {
            self.probes
                .iter()
                .chain(&self.listing_probes)
                .any(|probe| probe.about == *asks && !probe.inferred)
        };
        // A login, and any answer about the account, tell of the credential too.
        let known = |asks: &ProbeSubject| {
            *asks == ProbeSubject::Credential
                && (self.requires_login() || self.probes.iter().any(|probe| !probe.inferred))
        };
        ProbeSubject::ALL
            .iter()
            .copied()
            .filter(|asks| !told(asks) && !known(asks))
            .collect()
    }

    /// Whether the service lists this sender, or lets everybody use it; none: the reply does not tell.
    pub fn lists_sender(&self, probe: &Probe, reply: &Reply, sender: &str) -> Option<bool> {
        let heard = ParsedReply::parse(reply);
        let place = probe.senders_path.as_ref()?;
        let is_shared = probe.shared_senders.iter().any(|shared| shared == sender);
        let is_listed = place
            .find_all(&heard.tree)
            .into_iter()
            .map(to_text)
            .any(|listed| probe.is_same_sender(&listed, sender));
        (reply.status.is_success() && place.has_list(&heard.tree)).then_some(is_shared || is_listed)
    }

    /// How a text with `{holes}` stands there; none: the reply lists nothing.
    pub fn approval(&self, probe: &Probe, reply: &Reply, text: &str) -> Option<Approval> {
        let heard = ParsedReply::parse(reply);
        let texts = probe.templates.as_ref()?;
        if !reply.status.is_success() || !texts.path.has_list(&heard.tree) {
            return None;
        }
        let exact = Regex::new(&text_pattern(text, texts.placeholder_pattern())).ok()?;
        let alike = Regex::new(&text_pattern(
            text,
            &format!("{}|{WORD_PATTERN}", texts.placeholder_pattern()),
        ))
        .ok()?;
        let entries = texts.path.find_all(&heard.tree).into_iter();
        let states = entries.filter_map(|entry| {
            let own: Vec<String> = texts
                .text_paths
                .iter()
                .flat_map(|place| place.find_all(entry))
                .map(|own| collapse_blanks(&to_text(own)))
                .collect();
            let is = |wanted: &Regex| own.iter().any(|own| wanted.is_match(own));
            let state = texts.approval_of(entry);
            match (is(&exact), is(&alike)) {
                (false, true) if state == Approval::Approved => Some(Approval::Similar),
                (true, _) | (false, true) => Some(state),
                (false, false) => None,
            }
        });
        Some(states.min().unwrap_or(Approval::Unlisted))
    }
}

impl Probe {
    /// Whether the list can have this sender on it: some hold phone numbers alone.
    pub fn may_list_sender(&self, sender: &str) -> bool {
        !self.numbers_only || Msisdn::parse(sender).is_ok()
    }

    /// Numbers are written in many ways.
    fn is_same_sender(&self, listed: &str, sender: &str) -> bool {
        let number = |text: &str| Msisdn::parse(text).ok().filter(|_| self.numbers_only);
        listed == sender || number(listed).is_some_and(|listed| number(sender) == Some(listed))
    }
}

impl TemplateListing {
    /// What they write for a hole; a text without their holes is one example, whose words say nothing of others.
    fn placeholder_pattern(&self) -> &str {
        self.placeholder
            .as_ref()
            .map_or(NEVER_PATTERN, Regex::as_str)
    }

    fn approval_of(&self, entry: &serde_json::Value) -> Approval {
        let word = self
            .status_path
            .find_all(entry)
            .into_iter()
            .next()
            .map(to_text)
            .unwrap_or_default();
        let among = |words: &[String]| words.contains(&word);
        match () {
            () if among(&self.approved) => Approval::Approved,
            () if among(&self.pending) => Approval::Pending,
            () if among(&self.rejected) => Approval::Rejected,
            () => Approval::UnknownStatus,
        }
    }
}

/// What a listed text must be like to be ours: word for word, with this in each of our holes.
fn text_pattern(text: &str, hole: &str) -> String {
    let hole = format!("(?:{hole})");
    let pieces = text.split(['{', '}']).enumerate().map(|(at, piece)| {
        if at % 2 == 0 {
            regex::escape(&collapse_inner_blanks(piece))
        } else {
            hole.clone()
        }
    });
    format!("^{}$", pieces.collect::<String>())
}

/// Blanks are no part of what was approved.
fn collapse_blanks(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The same for a piece between two holes, whose outer blanks count.
fn collapse_inner_blanks(piece: &str) -> String {
    let blank = |at: Option<char>| {
        if at.is_some_and(char::is_whitespace) {
            " "
        } else {
            ""
        }
    };
    let words = collapse_blanks(piece);
    if words.is_empty() {
        return blank(piece.chars().next()).to_owned();
    }
    format!(
        "{}{words}{}",
        blank(piece.chars().next()),
        blank(piece.chars().next_back())
    )
}
