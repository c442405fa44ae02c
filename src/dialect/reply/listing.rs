//! What a service lists for an account: its senders and its texts. `doctor` compares them with a
//! config; a list can be older than an approval, so it settles no cause in the pipeline.

use std::collections::BTreeSet;

use regex::Regex;
use serde_json::Value;

use crate::dialect::expr::template::to_text;
use crate::dialect::model::{Probe, TemplateListing};
use crate::dialect::reply::parsed_reply::ParsedReply;
use crate::dialect::{Dialect, ProbeSubject, Reply};
use crate::sms::Msisdn;

/// The state of a text at the service, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Approval {
    /// It may be sent.
    Approved,
    /// The service has not decided yet.
    Pending,
    /// The service rejected it.
    Rejected,
    /// An example of it is approved; the list does not say whether other values are, too.
    Similar,
    /// It is listed, in a state that the description does not name.
    UnknownStatus,
    /// It is not listed.
    Unlisted,
}

impl Approval {
    /// The state in one word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Pending => "pending",
            Self::Rejected => "rejected",
            Self::Similar => "similar",
            Self::UnknownStatus => "unknown-status",
            Self::Unlisted => "unlisted",
        }
    }
}

impl Dialect {
    /// The probe that lists the account's senders. It settles no cause, so `probes` does not have it.
    pub fn sender_probe(&self) -> Option<&Probe> {
        self.listing_probes
            .iter()
            .find(|probe| probe.about == ProbeSubject::Sender)
    }

    /// The probe that lists the texts that were submitted for approval.
    pub fn template_probe(&self) -> Option<&Probe> {
        self.listing_probes
            .iter()
            .find(|probe| probe.about == ProbeSubject::Template)
    }

    /// The subjects that no verified probe covers: only a send shows them.
    pub fn unprobed_subjects(&self) -> Vec<ProbeSubject> {
        let has_probe = |subject: &ProbeSubject| {
            self.probes
                .iter()
                .chain(&self.listing_probes)
                .any(|probe| probe.about == *subject && !probe.inferred)
        };
        // A login, and any reply about the account, show the credential too.
        let is_shown_otherwise = |subject: &ProbeSubject| {
            *subject == ProbeSubject::Credential
                && (self.requires_login() || self.probes.iter().any(|probe| !probe.inferred))
        };
        ProbeSubject::ALL
            .iter()
            .copied()
            .filter(|subject| !has_probe(subject) && !is_shown_otherwise(subject))
            .collect()
    }

    /// Whether the service lists this sender, or lets every account use it; none: the reply does not show it.
    pub fn lists_sender(&self, probe: &Probe, reply: &Reply, sender: &str) -> Option<bool> {
        let parsed = ParsedReply::parse(reply);
        let place = probe.senders_path.as_ref()?;
        let is_shared = probe.shared_senders.iter().any(|shared| shared == sender);
        let is_listed = place
            .find_all(&parsed.tree)
            .into_iter()
            .map(to_text)
            .any(|listed| probe.is_same_sender(&listed, sender));
        (reply.status.is_success() && place.has_list(&parsed.tree))
            .then_some(is_shared || is_listed)
    }

    /// The approval of a text with `{holes}`; none: the reply lists nothing.
    pub fn approval(&self, probe: &Probe, reply: &Reply, text: &str) -> Option<Approval> {
        let parsed = ParsedReply::parse(reply);
        let listing = probe.templates.as_ref()?;
        if !reply.status.is_success() || !listing.path.has_list(&parsed.tree) {
            return None;
        }
        let pieces = literal_pieces(text);
        let entries = listing.path.find_all(&parsed.tree).into_iter();
        let states = entries.filter_map(|entry| listing.entry_approval(entry, &pieces));
        Some(states.min().unwrap_or(Approval::Unlisted))
    }
}

impl Probe {
    /// Whether the list can have this sender: some have phone numbers only.
    pub fn may_list_sender(&self, sender: &str) -> bool {
        !self.numbers_only || Msisdn::parse(sender).is_ok()
    }

    /// Numbers are compared as numbers, however they are written.
    fn is_same_sender(&self, listed: &str, sender: &str) -> bool {
        let number = |text: &str| Msisdn::parse(text).ok().filter(|_| self.numbers_only);
        listed == sender || number(listed).is_some_and(|listed| number(sender) == Some(listed))
    }
}

impl TemplateListing {
    /// The state of an entry, if it is the text with these pieces around its holes.
    fn entry_approval(&self, entry: &Value, pieces: &[String]) -> Option<Approval> {
        let listed: Vec<String> = self
            .text_paths
            .iter()
            .flat_map(|path| path.find_all(entry))
            .map(|text| collapse_blanks(&to_text(text)))
            .collect();
        let matches = |hole: &Regex| listed.iter().any(|text| is_text_of(text, pieces, hole));
        let has_holes = pieces.len() > 1;
        let is_exact = match &self.placeholder.exact {
            Some(hole) => matches(hole),
            None => !has_holes && matches(&self.placeholder.similar),
        };
        let state = self.listed_state(entry);
        if is_exact {
            Some(state)
        } else if matches(&self.placeholder.similar) {
            Some(if state == Approval::Approved {
                Approval::Similar
            } else {
                state
            })
        } else {
            None
        }
    }

    fn listed_state(&self, entry: &Value) -> Approval {
        let word = self
            .status_path
            .find_all(entry)
            .into_iter()
            .next()
            .map(to_text)
            .unwrap_or_default();
        if self.approved.contains(&word) {
            Approval::Approved
        } else if self.pending.contains(&word) {
            Approval::Pending
        } else if self.rejected.contains(&word) {
            Approval::Rejected
        } else {
            Approval::UnknownStatus
        }
    }
}

/// The literal text before, between and after the holes of a text.
fn literal_pieces(text: &str) -> Vec<String> {
    text.split(['{', '}'])
        .step_by(2)
        .map(collapse_inner_blanks)
        .collect()
}

/// Whether `listed` has these pieces, with a match of `hole` between each two of them.
fn is_text_of(listed: &str, pieces: &[String], hole: &Regex) -> bool {
    let Some((first, rest)) = pieces.split_first() else {
        return false;
    };
    let Some(start) = listed.strip_prefix(first.as_str()).map(|_| first.len()) else {
        return false;
    };
    // All places in `listed` that the pieces so far can end at.
    let mut ends = BTreeSet::from([start]);
    for piece in rest {
        ends = ends
            .into_iter()
            .flat_map(|start| ends_after_hole(listed, start, hole))
            .filter(|end| {
                listed
                    .get(*end..)
                    .is_some_and(|tail| tail.starts_with(piece.as_str()))
            })
            .map(|end| end + piece.len())
            .collect();
    }
    ends.contains(&listed.len())
}

/// Where a hole that begins at `start` can end.
fn ends_after_hole<'t>(
    listed: &'t str,
    start: usize,
    hole: &'t Regex,
) -> impl Iterator<Item = usize> + 't {
    (start..=listed.len()).filter(move |end| {
        listed
            .get(start..*end)
            .is_some_and(|text| hole.is_match(text))
    })
}

/// Blanks are not part of an approval.
fn collapse_blanks(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The same for a piece between two holes: its outer blanks count.
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
