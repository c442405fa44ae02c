//! A page as the checks need it: headings, links, code spans and code blocks, each with its line.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;

static SPAN: LazyLock<Regex> = LazyLock::new(|| Regex::new("`[^`]*`").unwrap());
static LINK: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\[[^\]]*\]\(([^)\s]+)\)").unwrap());

/// Something of a page, and the line it is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Located {
    pub(crate) line: usize,
    pub(crate) text: String,
}

/// A fenced block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) line: usize,
    /// What follows the fence, such as `toml` or `toml fragment`.
    pub(crate) info: String,
    pub(crate) text: String,
}

#[derive(Debug, Default)]
pub(crate) struct Page {
    /// From the repository's root.
    pub(crate) path: String,
    pub(crate) anchors: Vec<String>,
    /// Targets as they are written.
    pub(crate) links: Vec<Located>,
    pub(crate) spans: Vec<Located>,
    pub(crate) blocks: Vec<Block>,
}

impl Page {
    pub(crate) fn parse(path: &str, text: &str) -> Self {
        let mut page = Self {
            path: path.to_owned(),
            ..Self::default()
        };
        let mut open: Option<Block> = None;
        for (at, line) in text.lines().enumerate() {
            let fence = line.trim_start().strip_prefix("```");
            match (&mut open, fence) {
                (Some(_), Some(_)) => page.blocks.extend(open.take()),
                (Some(block), None) => {
                    block.text.push_str(line);
                    block.text.push('\n');
                }
                (None, Some(info)) => {
                    open = Some(Block {
                        line: at + 1,
                        info: info.trim().to_owned(),
                        text: String::new(),
                    });
                }
                (None, None) => page.parse_prose(at + 1, line),
            }
        }
        page
    }

    fn parse_prose(&mut self, line: usize, text: &str) {
        let located = |text: &str| Located {
            line,
            text: text.to_owned(),
        };
        if let Some(heading) = text.strip_prefix('#') {
            self.anchors.push(anchor(heading.trim_start_matches('#')));
        }
        let parts: Vec<&str> = text.split('`').collect();
        let spans = parts.iter().skip(1).step_by(2);
        self.spans.extend(spans.map(|span| located(span)));
        // Spans hide what looks like a link inside them, but may be a link's text.
        let prose = SPAN.replace_all(text, "code");
        let targets = LINK.captures_iter(&prose).map(|found| located(&found[1]));
        self.links.extend(targets);
    }

    /// Spans and the lines of all blocks.
    pub(crate) fn code(&self) -> impl Iterator<Item = Located> {
        let lines = self.blocks.iter().flat_map(|block| {
            block.text.lines().enumerate().map(|(at, text)| Located {
                line: block.line + 1 + at,
                text: text.to_owned(),
            })
        });
        self.spans.clone().into_iter().chain(lines)
    }

    /// Anchors as the hosting platform numbers those that occur twice.
    pub(crate) fn has_anchor(&self, wanted: &str) -> bool {
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        self.anchors.iter().any(|anchor| {
            let count = seen.entry(anchor).or_default();
            let numbered = match *count {
                0 => anchor.clone(),
                n => format!("{anchor}-{n}"),
            };
            *count += 1;
            numbered == wanted
        })
    }
}

/// A heading's anchor: lower case, hyphens for spaces, no punctuation.
fn anchor(heading: &str) -> String {
    heading
        .trim()
        .to_lowercase()
        .chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
            _ => None,
        })
        .collect()
}
