//! Simulates the service: rejections in its own form, for fake providers. Built from the rules
//! that classify replies, and classified by them before they are returned.

use http::StatusCode;
use serde_json::Value;

use crate::dialect::expr::scope::Scope;
use crate::dialect::model::codes::CodeTest;
use crate::dialect::model::{ReplyRule, ResponseTemplate, RuleAction};
use crate::dialect::reply::render::render;
use crate::dialect::wire::body::parse_reply;
use crate::dialect::{Dialect, MessageResult, Reply, RequestFields};
use crate::sms::{AttemptKind, Cause, Concern, Message, Outcome};

impl Dialect {
    /// The service's success for a message that it accepts under `id`.
    pub fn simulate_success(
        &self,
        fields: &RequestFields,
        message: Option<&Message>,
        id: &str,
        now: jiff::Timestamp,
    ) -> Reply {
        self.render_result(fields, message, &MessageResult::Accepted { id }, now)
    }

    /// A reply that means `cause` at this service; none if its description has no such reply.
    pub fn simulate_rejection(&self, cause: Cause) -> Option<Reply> {
        let codes = self
            .send
            .classifier
            .codes
            .0
            .iter()
            .filter(|entry| entry.cause == cause)
            .map(|entry| entry.test.example());
        let ruled = self
            .send
            .classifier
            .rules
            .iter()
            .filter(|rule| rule.has_cause(cause));
        let in_rules = ruled
            .clone()
            .flat_map(|rule| rule.equals.iter().map(CodeTest::example));
        let by_code = in_rules
            .chain(codes)
            .flat_map(|code| self.replies_with_code(&code, cause));
        let by_rule = ruled.filter_map(|rule| rule.example_reply(cause));
        let by_status = [401, 402, 403, 404, 429, 503, 500]
            .into_iter()
            .filter_map(|status| self.reply_with_status(status));
        by_code
            .chain(by_rule)
            .chain(by_status)
            .find(|reply| self.classifies_as(reply, cause))
    }

    fn classifies_as(&self, reply: &Reply, cause: Cause) -> bool {
        match self.classify(AttemptKind::Send, reply, "reference").outcome {
            Outcome::Rejected(found) | Outcome::Unknown(found) => found == cause,
            Outcome::Accepted { .. } | Outcome::Unsent(_) => false,
        }
    }

    /// Failure replies with this code, under the statuses that the service uses.
    fn replies_with_code(&self, code: &str, cause: Cause) -> Vec<Reply> {
        let value = self.code_value(code);
        let statuses = self.likely_statuses(cause);
        let failures = statuses.iter().map(|&status| {
            let scope = Scope {
                code: Some(&value),
                status: Some(status),
                reason: Some(cause.meaning()),
                ..Scope::default()
            };
            render(&self.send.failure.response, status, &scope)
        });
        let rules =
            self.send.classifier.rules.iter().filter(|rule| {
                matches!(rule.action, RuleAction::LookUpCode) || rule.has_cause(cause)
            });
        let by_rule = rules.flat_map(|rule| {
            statuses
                .iter()
                .filter_map(|status| rule.reply_with_value(&value, *status))
        });
        failures.chain(by_rule).collect()
    }

    /// A code with the type that the service gives it: a number, unless its codes are strings.
    fn code_value(&self, code: &str) -> Value {
        let default = self.send.failure.default.code.as_ref();
        let is_string = default.is_some_and(Value::is_string);
        let number = code
            .parse::<i64>()
            .ok()
            .filter(|number| !is_string && number.to_string() == code);
        number.map_or_else(|| Value::from(code), Value::from)
    }

    /// The usual status of a cause, and 200 for services that report failures inside one.
    fn likely_statuses(&self, cause: Cause) -> [u16; 2] {
        let usual = if cause.concern() == Concern::Credential {
            401
        } else if matches!(cause, Cause::PermissionDenied | Cause::IpNotAllowed) {
            403
        } else if cause == Cause::Throttled {
            429
        } else {
            400
        };
        let codes = &self.send.failure.codes;
        if codes.iter().any(|(_, line)| line.status == 200) {
            [200, usual]
        } else {
            [usual, 200]
        }
    }

    fn reply_with_status(&self, status: u16) -> Option<Reply> {
        let meaning = StatusCode::from_u16(status).ok()?.canonical_reason()?;
        let scope = Scope {
            status: Some(status),
            reason: Some(meaning),
            ..Scope::default()
        };
        Some(render(&self.send.failure.response, status, &scope))
    }
}

impl ReplyRule {
    fn has_cause(&self, cause: Cause) -> bool {
        match self.action {
            RuleAction::Reject(given) | RuleAction::MarkUnknown(given) => given == cause,
            RuleAction::AcceptIdAt(_) | RuleAction::AcceptIdFrom(_) | RuleAction::LookUpCode => {
                false
            }
        }
    }

    /// A reply that this rule matches, derived from the first alternative of its pattern.
    fn example_reply(&self, cause: Cause) -> Option<Reply> {
        let status = self.status.map_or(400, |test| {
            (100..600)
                .find(|status| test.is_match(*status))
                .unwrap_or(400)
        });
        let words = self.pattern.as_ref().map(|like| {
            like.as_str()
                .trim_start_matches("(?i)")
                .split('|')
                .next()
                .unwrap_or_default()
                .replace(['^', '$'], "")
                .replace('.', "_")
        });
        self.reply_with_value(
            &words.map_or_else(|| Value::from(cause.meaning()), Value::from),
            status,
        )
    }

    fn reply_with_value(&self, value: &Value, status: u16) -> Option<Reply> {
        let status = self.status.map_or(status, |test| {
            if test.is_match(status) {
                status
            } else {
                (100..600)
                    .find(|status| test.is_match(*status))
                    .unwrap_or(status)
            }
        });
        let mut tree = Value::Null;
        if let Some(place) = self.paths.first() {
            place.set(&mut tree, value, &Scope::default());
        }
        let mut reply = render(&ResponseTemplate::default(), status, &Scope::default());
        if !tree.is_null() {
            reply.body = tree.to_string().into();
            reply.headers.insert(
                http::header::CONTENT_TYPE,
                http::HeaderValue::from_static("application/json"),
            );
        }
        (parse_reply(&reply.body) == Ok(tree)).then_some(reply)
    }
}
