//! Renders problems for people and for programs.

use std::ops::Range;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use serde_json::{Value, json};

use crate::problem::{Problem, ProblemReport, Severity, SourceText, mask};

/// Renders the problems with a blank line between them.
pub(super) fn render_text(report: &ProblemReport, colours: bool) -> String {
    let renderer = if colours {
        Renderer::styled()
    } else {
        Renderer::plain()
    }
    .decor_style(DecorStyle::Ascii);
    let shown: Vec<String> = report
        .problems
        .iter()
        .map(|problem| render_problem(problem, report, &renderer))
        .collect();
    shown.join("\n\n")
}

fn render_problem(problem: &Problem, report: &ProblemReport, renderer: &Renderer) -> String {
    let level = match problem.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let help = problem
        .help
        .as_deref()
        .map(|help| Level::HELP.message(help));
    let title = level.primary_title(problem.message.as_str());
    let Some((place, text)) = locate(problem, report) else {
        let group = title.element(Origin::path(problem.file.as_str()));
        return renderer.render(&[group.elements(help)]);
    };
    let line = mask::mask_line(&text.text, &place.line_range, text.is_dialect);
    let span = line.map_span(&place.span_in_line);
    let shown_column = line
        .text
        .get(..span.start)
        .unwrap_or_default()
        .chars()
        .count()
        + 1;
    let snippet = Snippet::source(line.text)
        .line_start(place.line_number)
        .path(problem.file.as_str());
    let group: Group<'_> = title.element(snippet.annotation(AnnotationKind::Primary.span(span)));
    // The renderer counts columns in the masked line; people need those of the file.
    let at = |column: usize| format!("{}:{}:{column}", problem.file, place.line_number);
    renderer
        .render(&[group.elements(help)])
        .replacen(&at(shown_column), &at(place.column), 1)
}

/// Renders the problems as JSON.
pub(super) fn render_json(report: &ProblemReport) -> Value {
    let to_json = |problem: &Problem| {
        let place = locate(problem, report).map(|(place, _)| place);
        json!({
            "severity": problem.severity.as_str(),
            "file": problem.file,
            "line": place.as_ref().map(|place| place.line_number),
            "column": place.as_ref().map(|place| place.column),
            "message": problem.message,
            "help": problem.help,
        })
    };
    Value::Array(report.problems.iter().map(to_json).collect())
}

/// Where a problem is in its file.
struct SourceLocation {
    /// From 1.
    line_number: usize,
    /// From 1, in characters.
    column: usize,
    /// The bytes of the line, without its end.
    line_range: Range<usize>,
    /// The part of the problem's span that is on this line.
    span_in_line: Range<usize>,
}

fn locate<'a>(
    problem: &Problem,
    report: &'a ProblemReport,
) -> Option<(SourceLocation, &'a SourceText)> {
    let text = report.texts.iter().find(|text| text.file == problem.file)?;
    let span = problem.span.clone()?;
    let start = text
        .text
        .floor_char_boundary(span.start.min(text.text.len()));
    let before = text.text.get(..start)?;
    let after = text.text.get(start..)?;
    let begin = before.rfind('\n').map_or(0, |at| at + 1);
    let end = start + after.find('\n').unwrap_or(after.len());
    let place = SourceLocation {
        line_number: before.matches('\n').count() + 1,
        column: text.text.get(begin..start)?.chars().count() + 1,
        line_range: begin..end,
        span_in_line: start..text.text.ceil_char_boundary(span.end.clamp(start, end)),
    };
    Some((place, text))
}
