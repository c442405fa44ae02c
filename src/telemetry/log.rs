//! Where log lines go and what they may contain. The types in our own lines keep secrets out.
//! Third-party crates print requests at `debug` and bytes at `trace`, so every crate but ours is
//! capped at `warn`, whatever `RUST_LOG` requests.

use tracing::level_filters::LevelFilter;
use tracing::{Metadata, Subscriber};
use tracing_log::LogTracer;
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object per line.
    Json,
    /// For people.
    Human {
        /// Enabled only if the output is a terminal.
        colours: bool,
    },
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The filter is invalid.
    #[error(
        "the log filter `{filter}` cannot be read; write a level (`info`) or `target=level` pairs separated by commas"
    )]
    Filter {
        /// The filter, as given.
        filter: String,
        /// What is wrong with it.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// Logging was already set up.
    #[error("logging was begun before; it can begin once in a process")]
    AlreadyInitialized,
}

/// Sends all lines of this process, also those written through the `log` crate, to `writer`.
pub fn init<W>(format: Format, filter: &str, writer: W) -> Result<(), InitError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let subscriber = subscriber(format, filter, writer)?;
    tracing::subscriber::set_global_default(subscriber)
        .map_err(|_| InitError::AlreadyInitialized)?;
    LogTracer::builder()
        .with_max_level(tracing_log::log::LevelFilter::Warn)
        .init()
        .map_err(|_| InitError::AlreadyInitialized)
}

/// The subscriber that `init` installs.
pub fn subscriber<W>(
    format: Format,
    filter: &str,
    writer: W,
) -> Result<impl Subscriber + Send + Sync + use<W>, InitError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let asked = EnvFilter::try_new(filter).map_err(|source| InitError::Filter {
        filter: filter.to_owned(),
        source,
    })?;
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match format {
        Format::Json => lines
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .boxed(),
        Format::Human { colours } => lines.with_ansi(colours).boxed(),
    };
    Ok(Registry::default().with(lines.with_filter(asked.and(filter_fn(is_allowed)))))
}

/// Caps every crate but ours. It is an allow-list of one, because a list of noisy crates is never
/// complete.
fn is_allowed(line: &Metadata<'_>) -> bool {
    let ours = line.target().split("::").next() == Some(env!("CARGO_CRATE_NAME"));
    ours || LevelFilter::from_level(*line.level()) <= LevelFilter::WARN
}
