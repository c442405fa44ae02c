//! The service played: a refusal in its own wire form, for simulated providers. It is
//! made from the same rules that read it, and held against them before it is handed out.

use http::StatusCode;
use serde_json::Value;

use crate::dialect::answer::render;
use crate::dialect::body::reply_tree;
use crate::dialect::scope::Scope;
use crate::dialect::shape::{Rule, Then};
use crate::dialect::{Answer, Asked, Dialect, Reply};
use crate::sms::{Cause, Concern, Kind, Message, Outcome};

impl Dialect {
    /// The service's own success for a message it takes under `id`.
    pub fn provider_success(&self, asked: &Asked, message: Option<&Message>, id: &str, now: jiff::Timestamp) -> Reply {
        self.answer(asked, message, &Answer::Accepted { id }, now)
    }

    /// A reply by which this service says `cause`; none if its description knows no such reply.
    pub fn provider_refusal(&self, cause: Cause) -> Option<Reply> {
        let codes = self.send.judge.codes.0.iter().filter(|entry| entry.cause == cause).map(|entry| entry.test.example());
        let ruled = self.send.judge.rules.iter().filter(|rule| rule.gives(cause));
        let in_rules = ruled.clone().flat_map(|rule| rule.is.iter().map(crate::dialect::code::CodeTest::example));
        let by_code = in_rules.chain(codes).flat_map(|code| self.coded(&code, cause));
        let by_rule = ruled.filter_map(|rule| rule.example(cause));
        let by_status = [401, 402, 403, 404, 429, 503, 500].into_iter().filter_map(|status| self.bare(status));
        by_code.chain(by_rule).chain(by_status).find(|reply| self.says(reply, cause))
    }

    fn says(&self, reply: &Reply, cause: Cause) -> bool {
        match self.classify(Kind::Send, reply, "reference").outcome {
            Outcome::Refused(said) | Outcome::Unknown(said) => said == cause,
            Outcome::Accepted { .. } | Outcome::Unsent(_) => false,
        }
    }

    /// The failure's own shape with this code, under the statuses the service uses.
    fn coded(&self, code: &str, cause: Cause) -> Vec<Reply> {
        let inside_success = self.send.failure.lines.iter().any(|(_, line)| line.status == 200);
        let usual = if cause.concern() == Concern::Credential {
            401
        } else if matches!(cause, Cause::PermissionDenied | Cause::IpNotAllowed) {
            403
        } else if cause == Cause::Throttled {
            429
        } else {
            400
        };
        let statuses = if inside_success { [200, usual] } else { [usual, 200] };
        let in_text = self.send.failure.otherwise.code.as_ref().is_some_and(Value::is_string);
        let number = code.parse::<i64>().ok().filter(|number| !in_text && number.to_string() == code);
        let value = number.map_or_else(|| Value::from(code), Value::from);
        let reply = |status| {
            let scope = Scope { code: Some(&value), status: Some(status), reason: Some(cause.meaning()), ..Scope::default() };
            render(&self.send.failure.told, status, &scope)
        };
        let mut replies: Vec<Reply> = statuses.into_iter().map(reply).collect();
        for rule in self.send.judge.rules.iter().filter(|rule| matches!(rule.then, Then::Codes) || rule.gives(cause)) {
            replies.extend(statuses.iter().filter_map(|status| rule.with_value(&value, *status)));
        }
        replies
    }

    fn bare(&self, status: u16) -> Option<Reply> {
        let meaning = StatusCode::from_u16(status).ok()?.canonical_reason()?;
        let scope = Scope { status: Some(status), reason: Some(meaning), ..Scope::default() };
        Some(render(&self.send.failure.told, status, &scope))
    }
}

impl Rule {
    fn gives(&self, cause: Cause) -> bool {
        match self.then {
            Then::Refused(given) | Then::Unknown(given) => given == cause,
            Then::AcceptedAt(_) | Then::AcceptedAs(_) | Then::Codes => false,
        }
    }

    /// A reply that this rule fits, guessed from its plainest words.
    fn example(&self, cause: Cause) -> Option<Reply> {
        let status = self.status.map_or(400, |test| (100..600).find(|status| test.fits(*status)).unwrap_or(400));
        let words = self.like.as_ref().map(|like| {
            like.as_str().trim_start_matches("(?i)").split('|').next().unwrap_or_default().replace(['^', '$'], "").replace('.', "_")
        });
        self.with_value(&words.map_or_else(|| Value::from(cause.meaning()), Value::from), status)
    }

    fn with_value(&self, value: &Value, status: u16) -> Option<Reply> {
        let status = self
            .status
            .map_or(status, |test| if test.fits(status) { status } else { (100..600).find(|status| test.fits(*status)).unwrap_or(status) });
        let mut tree = Value::Null;
        if let Some(place) = self.at.first() {
            place.put(&mut tree, value, &Scope::default());
        }
        let mut reply = render(&crate::dialect::shape::Told::default(), status, &Scope::default());
        if !tree.is_null() {
            reply.body = tree.to_string().into();
            reply.headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
        }
        (reply_tree(&reply.body) == tree).then_some(reply)
    }
}
