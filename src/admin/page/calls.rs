//! The last calls: when, to whom (masked), what the backend was told, and every attempt.

use maud::{Markup, html};

use crate::admin::page::parts::{Sign, clock_of, sign};
use crate::telemetry::status::{Attempt, Call, Status};

/// A table on a wide screen, a list of cards on a phone; the roles keep it a table there too.
pub(super) fn section(status: &Status) -> Markup {
    html! {
        section aria-labelledby="calls" {
            h2 #calls { "Last calls" }
            @if status.calls.is_empty() {
                p.muted { "No call has come yet. The backend’s requests to its SMS service have to pass here." }
            } @else {
                table role="table" {
                    caption {
                        @if let [_] = status.calls.as_slice() { "One call" } @else { "The last " (status.calls.len()) " calls, newest first" }
                        "; numbers masked, times UTC"
                    }
                    thead role="rowgroup" {
                        tr role="row" {
                            @for head in ["When", "To", "Answered", "Attempts", "Took"] { th scope="col" role="columnheader" { (head) } }
                        }
                    }
                    tbody role="rowgroup" { @for call in &status.calls { (one(call, &status.at)) } }
                }
            }
        }
    }
}

fn one(call: &Call, now: &str) -> Markup {
    let shape = match call.verdict.as_str() {
        "carried" if call.cause.is_some() => Sign::Bad,
        "accepted" | "carried" | "answered" => Sign::Good,
        "message-refused" | "rejected" => Sign::Warn,
        _ => Sign::Bad,
    };
    html! {
        tr role="row" {
            td.when role="cell" { (clock_of(&call.at, now)) }
            th.whom scope="row" role="rowheader" {
                @match &call.recipient { Some(recipient) => (recipient), None => (call.operation) }
                span.muted {
                    @if let Some(dialect) = &call.dialect { " " (dialect) }
                    @if let Some(route) = &call.route { ", route " (route) }
                }
            }
            td.verdict role="cell" {
                (sign(shape)) " " (call.verdict)
                @if let Some(cause) = &call.cause { span.muted { " " (cause) } }
            }
            td.tried role="cell" { @if call.repeat { span.muted { "repeat, not sent again" } } @else if call.attempts.is_empty() { span.muted { "none" } } @else { ol { @for each in &call.attempts { li { (attempt(each)) } } } } }
            td.took role="cell" { (call.took_ms) " ms" }
        }
    }
}

fn attempt(attempt: &Attempt) -> Markup {
    html! {
        (attempt.provider)
        @if attempt.kind != "send" { " " (attempt.kind) }
        " " span class={ "word " (attempt.outcome) } { (attempt.outcome) }
        @if let Some(cause) = &attempt.cause { " " (cause) }
        @if let Some(status) = attempt.status { " " (status) }
        @if let Some(says) = &attempt.says { " " q { (says) } }
    }
}
