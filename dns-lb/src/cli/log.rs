//! Where the agent's events go, and in which form: those of its own, those of the crates that it is
//! made of, and the lines of the XDP program, all by one way.

use std::{
    io::{self, IsTerminal as _, Write},
    os::unix::net::UnixDatagram,
    path::Path,
};

use anyhow::Context as _;
use clap::ValueEnum;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::{
    EnvFilter, filter::LevelFilter, fmt, fmt::MakeWriter, util::SubscriberInitExt as _,
};

/// Where journald listens (`systemd-journald.service(8)`).
const JOURNAL: &str = "/run/systemd/journal/socket";

/// The form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Lines for people, on standard error.
    Text,
    /// A JSON object a line, on standard error.
    Json,
    /// To the journal, each with its priority.
    Journald,
}

/// Lets everything be logged from now on: from `info` on, or as `RUST_LOG` says.
///
/// # Errors
/// There is no journal.
pub(super) fn start(format: Format) -> anyhow::Result<()> {
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .from_env_lossy();
    match format {
        Format::Text => text(filter, io::stderr, has_colours()).init(),
        Format::Json => json(filter, io::stderr).init(),
        Format::Journald => {
            let journal = Journal::connect(Path::new(JOURNAL)).with_context(|| {
                format!("cannot log to the journal at {JOURNAL}: try --log-format text")
            })?;
            journald(filter, journal).init();
        }
    }
    Ok(())
}

fn has_colours() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

fn text<W>(filter: EnvFilter, writer: W, has_colours: bool) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_writer(writer)
        .with_ansi(has_colours)
        .finish()
}

/// The fields of an event are those of its object, beside `timestamp`, `level` and `message`.
fn json<W>(filter: EnvFilter, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    fmt()
        .json()
        .flatten_event(true)
        .with_env_filter(filter)
        .with_target(false)
        .with_writer(writer)
        .finish()
}

/// The journal keeps time and priority itself.
fn journald<W>(filter: EnvFilter, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_level(false)
        .without_time()
        .with_ansi(false)
        .with_writer(writer)
        .finish()
}

/// The way to journald, by its native protocol.
#[derive(Debug)]
struct Journal {
    socket: UnixDatagram,
    path: &'static Path,
}

impl Journal {
    fn connect(path: &'static Path) -> io::Result<Self> {
        // To know whether anybody is there. Entries go by the path, since a connection does not outlive
        // a restart of journald.
        UnixDatagram::unbound()?.connect(path)?;
        let socket = UnixDatagram::unbound()?;
        // Probes do not wait for a log.
        socket.set_nonblocking(true)?;
        Ok(Self { socket, path })
    }
}

impl<'w> MakeWriter<'w> for Journal {
    type Writer = Entry<'w>;

    fn make_writer(&'w self) -> Entry<'w> {
        Entry {
            journal: self,
            priority: priority(Level::INFO),
        }
    }

    fn make_writer_for(&'w self, metadata: &Metadata<'_>) -> Entry<'w> {
        Entry {
            journal: self,
            priority: priority(*metadata.level()),
        }
    }
}

/// `syslog(3)`'s number for a level.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

/// One event on its way: it is written as a whole.
#[derive(Debug)]
struct Entry<'w> {
    journal: &'w Journal,
    priority: u8,
}

impl Write for Entry<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let Journal { socket, path } = self.journal;
        match socket.send_to(&entry(self.priority, line), path) {
            Ok(_) => {}
            // A journal that takes no more: the line is lost.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // One that restarts, or a line that no datagram holds.
            Err(_) => io::stderr().write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An entry as <https://systemd.io/JOURNAL_NATIVE_PROTOCOL/> has it. The message may have line ends of
/// its own, so its length goes before it.
fn entry(priority: u8, line: &[u8]) -> Vec<u8> {
    let message = line.strip_suffix(b"\n").unwrap_or(line);
    let mut entry = Vec::with_capacity(message.len() + 64);
    entry.extend_from_slice(b"SYSLOG_IDENTIFIER=dns-lb\nPRIORITY=");
    entry.extend_from_slice(&[b'0' + priority, b'\n']);
    entry.extend_from_slice(b"MESSAGE\n");
    entry.extend_from_slice(&(message.len() as u64).to_le_bytes());
    entry.extend_from_slice(message);
    entry.push(b'\n');
    entry
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};
    use tracing::{debug, error, info, warn};

    use super::*;

    /// What has been written.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Lines {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Lines {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(octets);
            Ok(octets.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn filter() -> EnvFilter {
        EnvFilter::new("info")
    }

    /// A transition as the agent tells it, and one that is below the filter.
    fn say() {
        warn!(backend = %"resolvers/dns1", from = "up", to = "down", reason = "timeout", "health");
        debug!("nobody wants to know");
    }

    #[test]
    fn text_is_one_line_with_time_level_and_fields() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = text(filter(), move || writer.clone(), false);
        tracing::subscriber::with_default(subscriber, say);
        let text = lines.text();
        let (time, line) = text.split_once(' ').unwrap();
        time.parse::<crate::api::Timestamp>().unwrap();
        assert_eq!(
            line.trim_start(),
            "WARN health backend=resolvers/dns1 from=\"up\" to=\"down\" reason=\"timeout\"\n"
        );
    }

    #[test]
    fn json_is_one_object_a_line_with_the_fields_at_its_top() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = json(filter(), move || writer.clone());
        tracing::subscriber::with_default(subscriber, || {
            say();
            info!(text = "two\nlines", number = 5, "more");
        });
        let text = lines.text();
        let mut objects: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        for object in &mut objects {
            let time = object.as_object_mut().unwrap().remove("timestamp").unwrap();
            time.as_str()
                .unwrap()
                .parse::<crate::api::Timestamp>()
                .unwrap();
        }
        let expected = [
            json!({
                "level": "WARN", "message": "health", "backend": "resolvers/dns1",
                "from": "up", "to": "down", "reason": "timeout",
            }),
            json!({"level": "INFO", "message": "more", "text": "two\nlines", "number": 5}),
        ];
        assert_eq!(objects, expected);
    }

    #[test]
    fn the_journal_gets_an_entry_an_event_with_its_priority() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket").into_boxed_path();
        let path: &'static Path = Box::leak(path);
        Journal::connect(path).unwrap_err();
        let journal = UnixDatagram::bind(path).unwrap();
        let subscriber = journald(filter(), Journal::connect(path).unwrap());
        tracing::subscriber::with_default(subscriber, || {
            say();
            error!("two\nlines");
            info!("last");
        });
        journal.set_nonblocking(true).unwrap();
        let mut received = Vec::new();
        let mut octets = [0; 4_096];
        while let Ok(length) = journal.recv(&mut octets) {
            received.push(octets[..length].to_vec());
        }
        let said = "health backend=resolvers/dns1 from=\"up\" to=\"down\" reason=\"timeout\"";
        let expected = [(4, said), (3, "two\nlines"), (6, "last")].map(|(priority, message)| {
            let mut entry =
                format!("SYSLOG_IDENTIFIER=dns-lb\nPRIORITY={priority}\nMESSAGE\n").into_bytes();
            entry.extend((message.len() as u64).to_le_bytes());
            entry.extend(message.bytes());
            entry.push(b'\n');
            entry
        });
        assert_eq!(received, expected);
    }

    /// Lines of the XDP program and of other crates come as records of `log`.
    #[test]
    fn the_level_of_a_record_counts() {
        for (level, expected) in [
            (Level::ERROR, 3),
            (Level::WARN, 4),
            (Level::INFO, 6),
            (Level::DEBUG, 7),
            (Level::TRACE, 7),
        ] {
            assert_eq!(priority(level), expected);
        }
    }
}
