//! The last requests: the time, the masked recipient, the result that the backend got, and every attempt.

use maud::{Markup, html};

use crate::admin::page::components::{StatusIcon, status_icon, time_element};
use crate::admin::page::runbook::cause_link;
use crate::status::{AttemptStatus, RequestStatus, Status};

/// A table on a wide screen and a list of cards on a phone, where the ARIA roles keep it a table.
pub(super) fn section(status: &Status) -> Markup {
    html! {
        section.request-list aria-labelledby="requests" {
            h2 #requests { "Last requests" }
            @if status.requests.is_empty() {
                p.muted { "No request has arrived yet. The backend must send its SMS requests through the sidecar." }
            } @else {
                table role="table" {
                    caption {
                        @if let [_] = status.requests.as_slice() { "One request" } @else { "The last " (status.requests.len()) " requests, newest first" }
                        "; numbers masked, times UTC"
                    }
                    thead role="rowgroup" {
                        tr role="row" {
                            @for head in ["When", "To", "Answered", "Attempts", "Took"] { th scope="col" role="columnheader" { (head) } }
                        }
                    }
                    tbody role="rowgroup" { @for call in &status.requests { (request_row(call, &status.at)) } }
                }
            }
        }
    }
}

fn request_row(call: &RequestStatus, now: &str) -> Markup {
    let shape = match call.result.as_str() {
        "passed-through" if call.cause.is_some() => StatusIcon::Bad,
        "accepted" | "passed-through" | "answered-locally" => StatusIcon::Good,
        "message-rejected" | "denied" => StatusIcon::Warn,
        _ => StatusIcon::Bad,
    };
    html! {
        tr role="row" {
            td.when role="cell" { (time_element(&call.at, now)) }
            th.whom scope="row" role="rowheader" {
                @match &call.recipient { Some(recipient) => (recipient), None => (call.operation) }
                span.muted {
                    @if let Some(dialect) = &call.dialect { " " (dialect) }
                    @if let Some(route) = &call.route { ", route " (route) }
                }
            }
            td.result role="cell" {
                (status_icon(shape)) " " (call.result)
                @if let Some(cause) = &call.cause { span.muted { " " (cause_link(cause)) } }
            }
            td.tried role="cell" { @if call.duplicate { span.muted { "duplicate, not sent again" } } @else if call.attempts.is_empty() { span.muted { "none" } } @else { ol { @for each in &call.attempts { li { (attempt_item(each)) } } } } }
            td.took role="cell" { (call.took_ms) " ms" }
        }
    }
}

fn attempt_item(attempt: &AttemptStatus) -> Markup {
    html! {
        (attempt.provider)
        @if attempt.kind != "send" { " " (attempt.kind) }
        " " span class={ "word " (attempt.outcome) } { (attempt.outcome) }
        @if let Some(cause) = &attempt.cause { " " (cause_link(cause)) }
        @if let Some(status) = attempt.status { " " (status) }
        @if let Some(says) = &attempt.provider_message { " " q { (says) } }
    }
}
