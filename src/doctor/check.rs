//! What one check came to: a mark, what speaks for it, what to do. Plain values, so that what is
//! judged can be tested without asking anybody.

use crate::diagnosis::{Diagnosis, complete_commands};
use crate::sms::{Cause, Certainty};

/// From best to worst; the worst one decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum CheckResult {
    /// In order, by evidence.
    Ok,
    /// Unknown: the check could not run, or the service gives no answer.
    Skipped,
    /// It works and should not stay so.
    Warning,
    /// It does not work.
    Failed,
}

impl CheckResult {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Skipped => "skipped",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

/// One line of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Check {
    /// A provider, `backend`, or empty for what concerns all.
    pub(crate) subject: String,
    pub(crate) name: &'static str,
    pub(crate) result: CheckResult,
    pub(crate) cause: Option<Cause>,
    pub(crate) certainty: Option<Certainty>,
    pub(crate) alternatives: Vec<Cause>,
    pub(crate) evidence: String,
    pub(crate) remedy: Option<String>,
    /// It concerns single messages: others still go.
    pub(crate) is_partial: bool,
}

impl Check {
    /// Adds the config to the commands of modules that do not know it.
    pub(crate) fn complete_commands(&mut self, config: &str) {
        self.evidence = complete_commands(&self.evidence, config);
        self.remedy = self
            .remedy
            .take()
            .map(|remedy| complete_commands(&remedy, config));
    }

    pub(crate) fn ok(name: &'static str, evidence: impl Into<String>) -> Self {
        Self {
            subject: String::new(),
            name,
            result: CheckResult::Ok,
            cause: None,
            certainty: None,
            alternatives: Vec::new(),
            evidence: evidence.into(),
            remedy: None,
            is_partial: false,
        }
    }

    pub(crate) fn skipped(name: &'static str, why: impl Into<String>) -> Self {
        Self {
            result: CheckResult::Skipped,
            ..Self::ok(name, why)
        }
    }

    pub(crate) fn warning(
        name: &'static str,
        evidence: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            result: CheckResult::Warning,
            remedy: Some(remedy.into()),
            ..Self::ok(name, evidence)
        }
    }

    pub(crate) fn failed(
        name: &'static str,
        evidence: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            result: CheckResult::Failed,
            ..Self::warning(name, evidence, remedy)
        }
    }

    /// Failed for the cause of the diagnosis.
    pub(crate) fn diagnosed(name: &'static str, diagnosis: Diagnosis) -> Self {
        Self {
            cause: Some(diagnosis.cause),
            certainty: Some(diagnosis.certainty),
            alternatives: diagnosis.alternatives,
            ..Self::failed(name, diagnosis.evidence, diagnosis.remedy)
        }
    }

    #[must_use]
    pub(crate) fn with_cause(self, cause: Cause) -> Self {
        Self {
            cause: Some(cause),
            ..self
        }
    }

    #[must_use]
    pub(crate) fn with_subject(self, about: &str) -> Self {
        Self {
            subject: about.to_owned(),
            ..self
        }
    }
}

/// 0: nothing to complain about; 1: warnings only; 2: something failed.
pub(crate) fn exit_code(checks: &[Check]) -> u8 {
    match checks.iter().map(|check| check.result).max() {
        Some(CheckResult::Failed) => 2,
        Some(CheckResult::Warning) => 1,
        Some(CheckResult::Ok | CheckResult::Skipped) | None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_mark_is_the_exit_code() {
        let (ok, skipped) = (Check::ok("a", ""), Check::skipped("b", ""));
        let (warning, failed) = (Check::warning("c", "", ""), Check::failed("d", "", ""));
        assert_eq!(exit_code(&[]), 0);
        assert_eq!(exit_code(&[ok.clone(), skipped.clone()]), 0);
        assert_eq!(exit_code(&[ok.clone(), warning.clone(), skipped]), 1);
        assert_eq!(exit_code(&[warning, failed, ok]), 2);
    }
}
