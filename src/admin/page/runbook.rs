//! The runbook of this build as a page, so that each cause links to what to do about it, also where no wiki
//! can be reached. Its text is compiled in; markup in it is shown as text.

use std::sync::LazyLock;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use pulldown_cmark::{Event, Parser, Tag, TagEnd};

use crate::sms::Cause;

/// Where the page is served.
pub(super) const PATH: &str = "/runbook";
const TEXT: &str = include_str!("../../../deploy/runbook.md");

static PAGE: LazyLock<String> = LazyLock::new(|| render(TEXT));

/// The page.
pub(super) fn page() -> &'static str {
    &PAGE
}

/// The cause as a link to its heading; as text if this build does not know it.
pub(super) fn cause_link(cause: &str) -> Markup {
    html! {
        @if cause.parse::<Cause>().is_ok() { a.cause-link href={ (PATH) "#" (cause) } { (cause) } } @else { (cause) }
    }
}

fn render(text: &str) -> String {
    let headings: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .collect();
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                title { "Runbook · sms-sidecar" }
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                link rel="icon" href="/icon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/status.css";
            }
            body.runbook {
                a.skip href="#main" { "Skip to the text" }
                header.top { p.name { a href="/" { "Status" } } }
                nav aria-label="Headings" { ul { @for heading in &headings { li { a href={ "#" (heading) } { (heading) } } } } }
                main #main tabindex="-1" { (PreEscaped(body(text))) }
            }
        }
    };
    page.into_string()
}

/// The text as markup, with a name for each second-level heading.
fn body(text: &str) -> String {
    let mut events: Vec<Event<'_>> = served_events(text).collect();
    for at in 0..events.len() {
        let name = match events.get(at + 1) {
            Some(Event::Text(name)) => name.clone(),
            _ => continue,
        };
        if let Some(Event::Start(Tag::Heading { id, .. })) = events.get_mut(at) {
            *id = Some(name);
        }
    }
    let mut markup = String::with_capacity(text.len() * 2);
    pulldown_cmark::html::push_html(&mut markup, events.into_iter());
    markup
}

/// Turns markup in the text into text, and drops links to files beside the runbook, which are not served.
fn served_events(text: &str) -> impl Iterator<Item = Event<'_>> {
    let mut is_dropped = false;
    Parser::new(text).filter_map(move |event| {
        if let Event::Html(markup) | Event::InlineHtml(markup) = event {
            return Some(Event::Text(markup));
        }
        if let Event::Start(Tag::Link { dest_url, .. }) = &event {
            is_dropped = !dest_url.starts_with('#');
        }
        let is_link = matches!(
            event,
            Event::Start(Tag::Link { .. }) | Event::End(TagEnd::Link)
        );
        (!is_link || !is_dropped).then_some(event)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_heading_of_the_runbook_can_be_linked() {
        let mut linked = 0;
        for line in TEXT.lines() {
            let Some(heading) = line.strip_prefix("## ") else {
                continue;
            };
            linked += 1;
            for part in [
                format!("<h2 id=\"{heading}\">{heading}</h2>"),
                format!("<a href=\"#{heading}\">{heading}</a>"),
            ] {
                assert!(page().contains(&part), "{part}");
            }
        }
        assert!(linked > Cause::ALL.len(), "{linked}");
    }

    #[test]
    fn every_cause_links_to_its_heading() {
        for cause in Cause::ALL {
            let name = cause.as_str();
            assert_eq!(
                cause_link(name).into_string(),
                format!("<a class=\"cause-link\" href=\"/runbook#{name}\">{name}</a>")
            );
            assert!(page().contains(&format!("<h2 id=\"{name}\">")), "{name}");
        }
        assert_eq!(cause_link("<b>new").into_string(), "&lt;b&gt;new");
    }

    #[test]
    fn markup_is_text_and_links_to_other_files_are_words() {
        let text = "## a\n\nsee [b](guide/b.md) or [a](#a) <i>x</i>\n\n<script>1</script>\n";
        assert_eq!(
            body(text),
            "<h2 id=\"a\">a</h2>\n<p>see b or <a href=\"#a\">a</a> &lt;i&gt;x&lt;/i&gt;</p>\n&lt;script&gt;1&lt;/script&gt;\n"
        );
    }
}
