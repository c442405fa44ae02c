//! What a service lists for an account: whom it may send as, and which texts it may send. Read to compare with
//! a config; a list may be behind what was approved, so it settles no cause in the pipeline.

use regex::Regex;

use crate::dialect::judge::Heard;
use crate::dialect::shape::{Probe, Texts};
use crate::dialect::template::text_of;
use crate::dialect::{Asks, Dialect, Reply};
use crate::sms::Msisdn;

/// A word in an example.
const WORD: &str = r"[\w-]+";
/// What no text holds.
const NOTHING: &str = r"[^\s\S]";

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
    Alike,
    /// It is on the list, in a state that the description does not know.
    Odd,
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
            Self::Alike => "alike",
            Self::Odd => "odd",
            Self::Unlisted => "unlisted",
        }
    }
}

impl Dialect {
    /// The question whose answer lists what the account may send under. It settles no cause, so it is none of the others.
    pub fn sender_probe(&self) -> Option<&Probe> {
        self.lists.iter().find(|probe| probe.asks == Asks::Sender)
    }

    /// The question whose answer lists the texts that were given in for approval.
    pub fn template_probe(&self) -> Option<&Probe> {
        self.lists.iter().find(|probe| probe.asks == Asks::Template)
    }

    /// What no call tells that is free and was seen to work: only a send shows it.
    pub fn not_told(&self) -> Vec<Asks> {
        let told = |asks: &Asks| self.probes.iter().chain(&self.lists).any(|probe| probe.asks == *asks && !probe.guess);
        // A login, and any answer about the account, tell of the credential too.
        let known = |asks: &Asks| *asks == Asks::Credential && (self.has_token() || self.probes.iter().any(|probe| !probe.guess));
        Asks::ALL.iter().copied().filter(|asks| !told(asks) && !known(asks)).collect()
    }

    /// Whether the service lists this sender, or lets everybody use it; none: the reply does not tell.
    pub fn lists_sender(&self, probe: &Probe, reply: &Reply, sender: &str) -> Option<bool> {
        let heard = Heard::of(reply);
        let place = probe.senders.as_ref()?;
        let is_shared = probe.shared.iter().any(|shared| shared == sender);
        let is_listed = place.all(&heard.tree).into_iter().map(text_of).any(|listed| probe.is_same(&listed, sender));
        (reply.status.is_success() && place.is_listed(&heard.tree)).then_some(is_shared || is_listed)
    }

    /// How a text with `{holes}` stands there; none: the reply lists nothing.
    pub fn approval(&self, probe: &Probe, reply: &Reply, text: &str) -> Option<Approval> {
        let heard = Heard::of(reply);
        let texts = probe.texts.as_ref()?;
        if !reply.status.is_success() || !texts.at.is_listed(&heard.tree) {
            return None;
        }
        let exact = Regex::new(&pattern(text, texts.hole())).ok()?;
        let alike = Regex::new(&pattern(text, &format!("{}|{WORD}", texts.hole()))).ok()?;
        let entries = texts.at.all(&heard.tree).into_iter();
        let states = entries.filter_map(|entry| {
            let own: Vec<String> = texts.text.iter().flat_map(|place| place.all(entry)).map(|own| plain(&text_of(own))).collect();
            let is = |wanted: &Regex| own.iter().any(|own| wanted.is_match(own));
            let state = texts.state(entry);
            match (is(&exact), is(&alike)) {
                (false, true) if state == Approval::Approved => Some(Approval::Alike),
                (true, _) | (false, true) => Some(state),
                (false, false) => None,
            }
        });
        Some(states.min().unwrap_or(Approval::Unlisted))
    }
}

impl Probe {
    /// Whether the list can have this sender on it: some hold phone numbers alone.
    pub fn covers(&self, sender: &str) -> bool {
        !self.numbers || Msisdn::parse(sender).is_ok()
    }

    /// Numbers are written in many ways.
    fn is_same(&self, listed: &str, sender: &str) -> bool {
        let number = |text: &str| Msisdn::parse(text).ok().filter(|_| self.numbers);
        listed == sender || number(listed).is_some_and(|listed| number(sender) == Some(listed))
    }
}

impl Texts {
    /// What they write for a hole; a text without their holes is one example, whose words say nothing of others.
    fn hole(&self) -> &str {
        self.holes.as_ref().map_or(NOTHING, Regex::as_str)
    }

    fn state(&self, entry: &serde_json::Value) -> Approval {
        let word = self.status.all(entry).into_iter().next().map(text_of).unwrap_or_default();
        let among = |words: &[String]| words.contains(&word);
        match () {
            () if among(&self.approved) => Approval::Approved,
            () if among(&self.pending) => Approval::Pending,
            () if among(&self.rejected) => Approval::Rejected,
            () => Approval::Odd,
        }
    }
}

/// What a listed text must be like to be ours: word for word, with this in each of our holes.
fn pattern(text: &str, hole: &str) -> String {
    let hole = format!("(?:{hole})");
    let pieces =
        text.split(['{', '}']).enumerate().map(|(at, piece)| if at % 2 == 0 { regex::escape(&plain_piece(piece)) } else { hole.clone() });
    format!("^{}$", pieces.collect::<String>())
}

/// Blanks are no part of what was approved.
fn plain(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The same for a piece between two holes, whose outer blanks count.
fn plain_piece(piece: &str) -> String {
    let blank = |at: Option<char>| if at.is_some_and(char::is_whitespace) { " " } else { "" };
    let words = plain(piece);
    if words.is_empty() {
        return blank(piece.chars().next()).to_owned();
    }
    format!("{}{words}{}", blank(piece.chars().next()), blank(piece.chars().next_back()))
}
