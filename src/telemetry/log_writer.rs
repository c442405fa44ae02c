//! Writes log lines on a thread of their own, so that a reader that stalls (a full pipe, a slow
//! disk, a hung log collector) never blocks a request. The queue is bounded in bytes. A line that
//! does not fit is dropped and counted, and the sidecar logs the count when the reader is back.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use prometheus::IntCounter;
use tracing_subscriber::fmt::MakeWriter;

/// The bytes of lines that wait for the writer: thousands of lines.
const MAX_QUEUED_BYTES: usize = 1 << 20;
/// What a queued line takes beside its bytes.
const LINE_OVERHEAD: usize = 64;

/// The entry to the queue; clones share it.
#[derive(Clone)]
pub struct LogWriter(Arc<LogQueue>);

struct LogQueue {
    state: Mutex<QueueState>,
    changed: Condvar,
}

#[derive(Default)]
struct QueueState {
    lines: VecDeque<Vec<u8>>,
    /// Of `lines` and of the lines that are being written.
    bytes: usize,
    is_closed: bool,
    /// Lines that did not fit since the last report.
    unreported: u64,
    dropped: DropCount,
}

/// Counts dropped lines, first without the metric: the log starts before telemetry does.
enum DropCount {
    Early(u64),
    Metric(IntCounter),
}

impl Default for DropCount {
    fn default() -> Self {
        Self::Early(0)
    }
}

impl LogWriter {
    /// Starts the thread that writes to `output`.
    pub fn start(output: impl Write + Send + 'static) -> io::Result<Self> {
        let queue = Arc::new(LogQueue {
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let writer = Self(Arc::clone(&queue));
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || queue.write_lines(output))?;
        Ok(writer)
    }

    /// Accepts no more lines, and waits until the queued ones are written, for at most `limit`.
    pub fn close(&self, limit: Duration) {
        let mut state = self.0.lock();
        state.is_closed = true;
        self.0.changed.notify_all();
        let written = self
            .0
            .changed
            .wait_timeout_while(state, limit, |state| state.bytes > 0);
        drop(written);
    }

    /// Counts dropped lines here from now on, those before included.
    pub(super) fn count_drops(&self, metric: IntCounter) {
        let mut state = self.0.lock();
        if let DropCount::Early(count) = state.dropped {
            metric.inc_by(count);
        }
        state.dropped = DropCount::Metric(metric);
    }
}

impl LogQueue {
    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: &[u8]) {
        let mut state = self.lock();
        let size = queued_size(line);
        if state.is_closed || state.bytes + size > MAX_QUEUED_BYTES {
            state.unreported += 1;
            state.dropped.add_one();
            return;
        }
        state.bytes += size;
        state.lines.push_back(line.to_vec());
        self.changed.notify_all();
    }

    /// Runs until the queue is closed and empty.
    fn write_lines(&self, mut output: impl Write) {
        while let Some(line) = self.next_line() {
            // A reader that is gone does not come back: its lines are lost, and counted.
            let result = output.write_all(&line).and_then(|()| output.flush());
            let mut state = self.lock();
            state.bytes -= queued_size(&line);
            if result.is_err() {
                state.dropped.add_one();
            }
            let unreported = if state.lines.is_empty() && !state.is_closed {
                std::mem::take(&mut state.unreported)
            } else {
                0
            };
            drop(state);
            self.changed.notify_all();
            if unreported > 0 {
                LinesDropped { count: unreported }.emit();
            }
        }
    }

    fn next_line(&self) -> Option<Vec<u8>> {
        let is_waiting = |state: &mut QueueState| state.lines.is_empty() && !state.is_closed;
        let mut state = self
            .changed
            .wait_while(self.lock(), is_waiting)
            .unwrap_or_else(PoisonError::into_inner);
        state.lines.pop_front()
    }
}

fn queued_size(line: &[u8]) -> usize {
    line.len() + LINE_OVERHEAD
}

impl DropCount {
    fn add_one(&mut self) {
        match self {
            Self::Early(count) => *count += 1,
            Self::Metric(metric) => metric.inc(),
        }
    }
}

/// The reader of the log was too slow, and lines were dropped; it is back.
#[derive(Clone, Copy, Debug)]
struct LinesDropped {
    count: u64,
}

impl LinesDropped {
    fn emit(self) {
        tracing::warn!(
            lines = self.count,
            remedy = "find out why the reader of the sidecar's standard error stalls: a full disk, a slow log collector, a paused terminal",
            "log lines dropped: nothing read them in time"
        );
    }
}

impl Write for &LogWriter {
    /// Takes whole lines; never blocks, never fails.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

impl fmt::Debug for LogWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogWriter").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// A reader that takes a line only when it is let, and passes it on.
    struct StalledReader {
        let_through: Receiver<()>,
        read: Sender<Vec<u8>>,
    }

    impl Write for StalledReader {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.let_through
                .recv()
                .map_err(|_| io::ErrorKind::BrokenPipe)?;
            self.read
                .send(line.to_vec())
                .map_err(|_| io::ErrorKind::BrokenPipe)?;
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A writer, the gate that lets one line through to its reader, and the lines that got there.
    struct StalledWriter {
        writer: LogWriter,
        open: Sender<()>,
        lines: Receiver<Vec<u8>>,
    }

    fn stalled_writer() -> StalledWriter {
        let (open, let_through) = channel();
        let (read, lines) = channel();
        let writer = LogWriter::start(StalledReader { let_through, read }).unwrap();
        StalledWriter {
            writer,
            open,
            lines,
        }
    }

    #[test]
    fn a_stalled_reader_blocks_nobody_and_costs_bounded_memory() {
        let StalledWriter {
            writer,
            open,
            lines,
        } = stalled_writer();
        let line = vec![b'x'; 1 << 10];
        let count = 4 * MAX_QUEUED_BYTES / line.len();
        for _ in 0..count {
            (&writer).write_all(&line).unwrap();
        }
        let metric = IntCounter::new("dropped", "dropped").unwrap();
        writer.count_drops(metric.clone());
        assert!(writer.0.lock().bytes <= MAX_QUEUED_BYTES);
        let queued = writer.0.lock().bytes / queued_size(&line);
        assert_eq!(metric.get(), u64::try_from(count - queued).unwrap());

        for _ in 0..queued {
            open.send(()).unwrap();
        }
        for _ in 0..queued {
            assert_eq!(lines.recv().unwrap(), line, "whole lines, in their order");
        }
    }

    #[test]
    fn the_end_waits_for_the_lines_but_not_for_ever() {
        let StalledWriter {
            writer,
            open,
            lines,
        } = stalled_writer();
        (&writer).write_all(b"last words\n").unwrap();
        writer.close(Duration::from_millis(1));
        open.send(()).unwrap();
        writer.close(Duration::from_mins(1));
        assert_eq!(lines.try_recv().unwrap(), b"last words\n");
        (&writer).write_all(b"too late\n").unwrap();
        assert_eq!(writer.0.lock().bytes, 0);
    }

    #[test]
    fn lines_for_a_reader_that_is_gone_are_counted() {
        let StalledWriter {
            writer,
            open,
            lines,
        } = stalled_writer();
        drop((open, lines));
        let metric = IntCounter::new("dropped", "dropped").unwrap();
        writer.count_drops(metric.clone());
        (&writer).write_all(b"nobody reads this\n").unwrap();
        writer.close(Duration::from_mins(1));
        assert_eq!(metric.get(), 1);
    }
}
