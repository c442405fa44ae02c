//! The layout of a text on a terminal: lines that fit, with hanging indents. Nothing that a person copies is
//! broken: a command, a path, an address. A pipe gets every line whole, so that `grep` finds it.

use textwrap::core::display_width;
use textwrap::{Options, WordSeparator, WordSplitter, WrapAlgorithm};

use crate::diagnosis::RemedyStep;

/// The width of a terminal that does not say its own.
const DEFAULT_WIDTH: usize = 80;
/// The narrowest terminal that lines are wrapped for.
const MIN_WIDTH: usize = 20;
/// How far a continuation line is indented after a line that has no columns.
const INDENT: usize = 2;
/// Stands for a blank that is not a place to break.
const NO_BREAK: char = '\u{a0}';

/// The output that a text is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Target {
    /// The columns of its terminal; none: it is not a terminal.
    #[expect(
        clippy::disallowed_methods,
        reason = "the user's shell says how wide a text is to be"
    )]
    pub(crate) fn width(self) -> Option<usize> {
        use std::io::IsTerminal as _;
        let (is_terminal, size) = match self {
            Self::Stdout => {
                let out = std::io::stdout();
                (out.is_terminal(), terminal_size::terminal_size_of(out))
            }
            Self::Stderr => {
                let err = std::io::stderr();
                (err.is_terminal(), terminal_size::terminal_size_of(err))
            }
        };
        let columns = std::env::var("COLUMNS").ok();
        let size = size.map(|(width, _)| usize::from(width.0));
        is_terminal.then(|| choose_width(columns.as_deref(), size))
    }
}

/// `COLUMNS` if it is set, else what the terminal says.
fn choose_width(columns: Option<&str>, size: Option<usize>) -> usize {
    columns
        .and_then(|columns| columns.trim().parse().ok())
        .filter(|columns| *columns > 0)
        .or(size)
        .unwrap_or(DEFAULT_WIDTH)
        .max(MIN_WIDTH)
}

/// The text as it is printed: wrapped to `width`, or with its lines whole if there is none.
pub(crate) fn lay_out(text: &str, width: Option<usize>) -> String {
    let Some(width) = width else {
        return text.replace(NO_BREAK, " ");
    };
    let lines: Vec<String> = text.split('\n').map(|line| wrap(line, width)).collect();
    lines.join("\n").replace(NO_BREAK, " ")
}

/// A command that stands alone on its line and is never broken.
pub(crate) fn command(command: &str) -> String {
    command.replace(' ', &NO_BREAK.to_string())
}

/// The steps of a remedy, a line each; a command has its own line. Several steps are numbered.
pub(crate) fn render_steps(steps: &[RemedyStep]) -> Vec<String> {
    let is_numbered = steps.len() > 1;
    let mut lines = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        let number = if is_numbered {
            format!("{}. ", at + 1)
        } else {
            String::new()
        };
        let colon = if step.command.is_some() { ":" } else { "" };
        lines.push(format!("{number}{}{colon}", step.text));
        if let Some(call) = &step.command {
            let indent = " ".repeat(number.len() + INDENT);
            lines.push(format!("{indent}{}", command(call)));
        }
    }
    lines
}

/// One line, continued under its last column.
fn wrap(line: &str, width: usize) -> String {
    if display_width(line) <= width || is_source(line) {
        return line.to_owned();
    }
    if !line.trim_start().contains(' ') {
        return dedent(line, width);
    }
    let indent = " ".repeat(hanging_indent(line, width));
    let options = Options::new(width)
        .subsequent_indent(&indent)
        .break_words(false)
        .word_separator(WordSeparator::AsciiSpace)
        .word_splitter(WordSplitter::NoHyphenation)
        .wrap_algorithm(WrapAlgorithm::FirstFit);
    textwrap::wrap(&keep_code_whole(line), options).join("\n")
}

/// Moves a line that cannot be broken to the left, as far as it has to be to fit.
fn dedent(line: &str, width: usize) -> String {
    let text = line.trim_start();
    let room = width.saturating_sub(display_width(text));
    format!("{}{text}", " ".repeat(room.max(INDENT)))
}

/// Whether the line shows a line of a file, or a caret under it.
fn is_source(line: &str) -> bool {
    let plain = anstream::adapter::strip_str(line).to_string();
    let gutter = plain
        .trim_start()
        .trim_start_matches(|c: char| c.is_ascii_digit());
    gutter.trim_start().starts_with("| ") || gutter.trim_start().starts_with("--> ")
}

/// Where the text of a line begins: after its columns, which two blanks separate, and after a mark or number.
fn hanging_indent(line: &str, width: usize) -> usize {
    let plain = anstream::adapter::strip_str(line).to_string();
    let leading = plain.chars().take_while(|c| *c == ' ').count();
    let column = last_column(&plain, width / 2);
    let rest: String = plain.chars().skip(column.max(leading)).collect();
    match mark_width(&rest) {
        0 if column > leading => column,
        0 => leading + INDENT,
        mark => column.max(leading) + mark,
    }
}

/// Where the last column begins that starts before `limit`; 0 if the line has none.
fn last_column(plain: &str, limit: usize) -> usize {
    let mut column = 0;
    let mut blanks = 0;
    for (at, character) in plain.chars().enumerate() {
        if at > limit {
            break;
        }
        if character != ' ' && blanks > 1 {
            column = at;
        }
        blanks = if character == ' ' { blanks + 1 } else { 0 };
    }
    column
}

/// The width of the marks at the beginning of a text, with their blanks: `→ `, `● `, `1. `.
fn mark_width(text: &str) -> usize {
    let Some((mark, rest)) = text.split_once(' ') else {
        return 0;
    };
    let is_number = mark
        .strip_suffix('.')
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()));
    if is_number || matches!(mark, "→" | "●" | "▲" | "✕" | "‖" | "!" | "-" | "=") {
        mark.chars().count() + 1 + mark_width(rest)
    } else {
        0
    }
}

/// The line with its code in backticks kept whole.
fn keep_code_whole(line: &str) -> String {
    let parts: Vec<&str> = line.split('`').collect();
    let closed = parts.len().saturating_sub(1);
    let keep = |(at, part): (usize, &&str)| {
        if at % 2 == 1 && at < closed {
            command(part)
        } else {
            (*part).to_owned()
        }
    };
    let kept: Vec<String> = parts.iter().enumerate().map(keep).collect();
    kept.join("`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::remedy_steps;

    #[test]
    fn a_terminal_has_the_width_of_its_variable_or_its_own() {
        for (columns, size, width) in [
            (None, Some(100), 100),
            (Some("64"), Some(100), 64),
            (Some("0"), Some(100), 100),
            (Some("wide"), None, DEFAULT_WIDTH),
            (Some("3"), None, MIN_WIDTH),
            (None, None, DEFAULT_WIDTH),
        ] {
            assert_eq!(choose_width(columns, size), width, "{columns:?} {size:?}");
        }
    }

    #[test]
    fn a_continuation_stands_under_its_column() {
        for (line, width, wrapped) in [
            ("short", 20, "short"),
            (
                "one two three four five",
                12,
                "one two\n  three four\n  five",
            ),
            (
                "  failed   dns   it said no, and then it said no again",
                34,
                "  failed   dns   it said no, and\n                 then it said no\n                 again",
            ),
            ("  ● one two three four", 14, "  ● one two\n    three four"),
            ("12. one two three four", 14, "12. one two\n    three four"),
            ("  → 1. one two three", 14, "  → 1. one two\n       three"),
            (
                "          https://example.com/a",
                26,
                "     https://example.com/a",
            ),
            (
                "say `a b c d e f g h` to it",
                14,
                "say\n  `a b c d e f g h`\n  to it",
            ),
            (
                "at https://example.com/a-long-path it is",
                14,
                "at\n  https://example.com/a-long-path\n  it is",
            ),
            (
                "3 | key = \"a long value of a file\"",
                14,
                "3 | key = \"a long value of a file\"",
            ),
        ] {
            assert_eq!(lay_out(line, Some(width)), wrapped);
            assert_eq!(lay_out(line, None), line, "a pipe gets it whole");
        }
    }

    #[test]
    fn colours_have_no_width() {
        let line = "  \u{1b}[31mfailed\u{1b}[0m   dns   one two three four five";
        let wrapped = lay_out(line, Some(36));
        assert_eq!(
            anstream::adapter::strip_str(&wrapped).to_string(),
            "  failed   dns   one two three four\n                 five"
        );
    }

    #[test]
    fn steps_are_numbered_and_a_command_stands_alone() {
        let lines = |remedy: &str, width| {
            lay_out(&render_steps(&remedy_steps(remedy)).join("\n"), Some(width))
        };
        assert_eq!(lines("top up", 20), "top up");
        assert_eq!(
            lines(
                "put it right, then `sms-sidecar resume a --config /a/long/path`",
                20
            ),
            "1. put it right\n2. run:\n  sms-sidecar resume a --config /a/long/path"
        );
        assert_eq!(
            lines("set the clock: `timedatectl set-ntp true`", 80),
            "set the clock:\n  timedatectl set-ntp true"
        );
    }
}
