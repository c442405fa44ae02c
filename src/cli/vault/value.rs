//! Where a value comes from: a prompt without echo, standard input, a file; never an argument.

use std::io::{IsTerminal, Read};
use std::path::PathBuf;

use anyhow::{Context, bail};
use zeroize::Zeroizing;

use crate::cli::output;
use crate::dialect::unset_problem;
use crate::secret::SecretString;
use crate::vault::{file, usable_value};

const MAX_STDIN: u64 = 64 << 10;

#[derive(Debug, clap::Args)]
pub(super) struct ValueInput {
    /// Read from standard input: the whole value of one field, or one line for each of several fields, in their order. A newline at the end is removed.
    #[arg(long, conflicts_with = "file")]
    stdin: bool,
    /// Read from this file, in the same form.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

impl ValueInput {
    /// Reads a value for each field; rejects one that stands for a value, and warns about one that looks like a mistake.
    pub(super) fn read_values(
        &self,
        path: &str,
        fields: &[String],
    ) -> anyhow::Result<Vec<SecretString>> {
        let text = match &self.file {
            Some(path) => file::read_text(path, "name a file with the values, or use --stdin")?,
            None if self.stdin => read_stdin()?,
            None => {
                return fields
                    .iter()
                    .map(|field| check_value(field, &prompt_secret(&format!("{path} {field}: "))?))
                    .collect();
            }
        };
        let values: Vec<&str> = if fields.len() == 1 {
            vec![text.as_str()]
        } else {
            text.lines().collect()
        };
        if values.len() != fields.len() {
            bail!(
                "{} fields need one line each, but the input has {} lines; nothing was changed",
                fields.len(),
                values.len()
            );
        }
        fields
            .iter()
            .zip(values)
            .map(|(field, value)| check_value(field, value))
            .collect()
    }
}

fn prompt_secret(prompt: &str) -> anyhow::Result<Zeroizing<String>> {
    let typed = rpassword::prompt_password(prompt)
        .context("there is no terminal for the prompt; use --stdin or --file")?;
    Ok(Zeroizing::new(typed))
}

fn check_value(field: &str, value: &str) -> anyhow::Result<SecretString> {
    let usable = match usable_value(value) {
        Ok(usable) => usable,
        Err(what) => bail!(
            "the value of `{field}` {what}, so nothing was changed; `sms-sidecar vault rm` removes a field"
        ),
    };
    if let Some(what) = unset_problem(usable.text) {
        bail!(
            "the value of `{field}` {what}, so nothing was changed; give the value that the service issued"
        );
    }
    if let Some(what) = usable.warning {
        output::note(format_args!("warning: the value of `{field}` {what}"));
    }
    Ok(SecretString::from(usable.text))
}

fn read_stdin() -> anyhow::Result<Zeroizing<String>> {
    if std::io::stdin().is_terminal() {
        bail!(
            "--stdin reads from a pipe, because a terminal would show what you type; without --stdin the command prompts without echo"
        );
    }
    let mut text = Zeroizing::new(String::with_capacity(1024));
    std::io::stdin()
        .lock()
        .take(MAX_STDIN + 1)
        .read_to_string(&mut text)
        .context("standard input is not UTF-8 text")?;
    if text.len() as u64 > MAX_STDIN {
        bail!("standard input is longer than 64 KiB; a credential is shorter");
    }
    Ok(text)
}

/// Asks for confirmation; only `yes` or `y` confirms.
pub(in crate::cli) fn confirm(question: &str) -> anyhow::Result<bool> {
    output::note(format_args!("{question} [y/N]"));
    let mut answer = String::new();
    std::io::stdin()
        .read_line(&mut answer)
        .context("no answer could be read; use --yes")?;
    Ok(["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str()))
}
