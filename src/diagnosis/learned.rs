//! What was learned beside the refused reply, as values: who says it, and what it leaves of
//! the suspects. Whoever asks, reads a clock or keeps a session makes these; nothing here does.

use std::fmt;

use crate::diagnosis::settle::Answer;

/// One thing that was learned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Learned {
    /// Who says it.
    pub witness: Witness,
    /// What it says.
    pub answer: Answer,
}

/// Who says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Witness {
    /// A free call that shows whether the credential is known.
    CredentialCall,
    /// A free call about the account.
    AccountCall,
    /// A free call about the money left.
    BalanceCall,
    /// A login was accepted with this credential, and the fresh token was refused like the one before.
    FreshToken,
}

impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CredentialCall => "a free call with the same credential",
            Self::AccountCall => "its account call",
            Self::BalanceCall => "its balance call",
            Self::FreshToken => "a login with the same credential",
        })
    }
}

impl fmt::Display for Learned {
    /// One clause of the evidence.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let witness = self.witness;
        match (&self.answer, witness) {
            (Answer::RulesOut(_), Witness::FreshToken) => write!(f, "{witness} was accepted, and its fresh token refused"),
            (Answer::RulesOut(_), _) => write!(f, "{witness} was answered as if all were in order"),
            (Answer::Says(causes, _), _) => {
                let words: Vec<&str> = causes.iter().map(|cause| cause.as_str()).collect();
                write!(f, "{witness} says {}", words.join(" or "))
            }
            (Answer::Nothing, _) => write!(f, "{witness} says nothing about it"),
        }
    }
}
