//! A mail relay's look-ups through glibc's stub resolver, as programs have made them all along.
//!
//! For each mail it looks up the MX of the recipient's domain and then the A of that exchange, one
//! mail after the other. The resolver reads `/etc/resolv.conf` once a process, so each relay is a
//! process of its own, on a client host of its own: [`run_child`] in a program that the caller
//! names, [`Relay`] in the lab.

use std::{
    ffi::{CStr, CString, c_char, c_int},
    io::{BufRead, BufReader, Write, stdout},
    net::Ipv4Addr,
    ops::Range,
    process::Command,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use hickory_proto::{
    op::Message,
    rr::{RData, RecordType},
};
use serde::{Deserialize, Serialize};

use crate::{
    node::{Node, Stdout},
    process::Process,
};

/// What a relay does for a mail besides looking names up. Without it a healthy relay would only
/// measure the processor; next to a time-out of 5 s it is nothing.
pub const HANDLING: Duration = Duration::from_millis(20);

/// How long a relay runs at most, should nobody end it.
const LIFETIME: Duration = Duration::from_secs(600);

/// A relay on a client host.
pub struct Relay {
    _process: Process,
    mails: Arc<Mutex<Vec<Mail>>>,
}

/// A mail that a relay has dealt with.
#[derive(Clone, Copy, Debug)]
struct Mail {
    done: Instant,
    line: Line,
}

/// What a relay prints for each mail, as JSON.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Line {
    /// Whether both look-ups succeeded.
    found: bool,
    /// The longer of the two look-ups, in microseconds.
    longest_us: u64,
}

/// How mail went in some time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Delivery {
    /// Mails that left, whose look-ups both succeeded.
    pub mails: usize,
    /// Mails put off, since a look-up failed.
    pub deferred: usize,
    /// From the start of the time to the last mail's end.
    pub elapsed: Duration,
    /// The longest look-up.
    pub longest_lookup: Duration,
}

impl Delivery {
    /// Mails that left, for each hour that it took them.
    #[must_use]
    pub fn mails_per_hour(&self) -> f64 {
        if self.mails == 0 {
            return 0.0;
        }
        self.mails as f64 * 3600.0 / self.elapsed.as_secs_f64()
    }
}

impl Relay {
    /// Starts `program`, which must call [`run_child`], on a client host with these `nameserver`
    /// lines and nothing else in `/etc/resolv.conf`.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn start(node: &Node, program: Command, nameservers: &[Ipv4Addr]) -> Result<Self> {
        let lines: String = nameservers
            .iter()
            .map(|address| format!("nameserver {address}\n"))
            .collect();
        Self::start_with(node, program, &lines)
    }

    /// The same with all that `/etc/resolv.conf` is to say (resolv.conf(5)).
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn start_with(node: &Node, program: Command, resolver: &str) -> Result<Self> {
        node.write("/etc/resolv.conf", resolver)?;
        let mut process = node.spawn("mail relay", program, Stdout::Pipe)?;
        let output = process.take_stdout().context("the relay has no output")?;
        let mails = Arc::new(Mutex::new(Vec::new()));
        let written = Arc::clone(&mails);
        // Ends with the relay, which closes the pipe.
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let done = Instant::now();
                if let Ok(line) = serde_json::from_str(&line) {
                    lock(&written).push(Mail { done, line });
                }
            }
        });
        Ok(Self {
            _process: process,
            mails,
        })
    }

    /// How mail went in a time: counts mails that were done with in it.
    #[must_use]
    pub fn delivery(&self, time: Range<Instant>) -> Delivery {
        let mails = lock(&self.mails);
        let done: Vec<_> = mails
            .iter()
            .filter(|mail| time.contains(&mail.done))
            .collect();
        let found = done.iter().filter(|mail| mail.line.found).count();
        let last = done.last().map_or(time.start, |mail| mail.done);
        let longest = done.iter().map(|mail| mail.line.longest_us).max();
        Delivery {
            mails: found,
            deferred: done.len() - found,
            elapsed: last - time.start,
            longest_lookup: Duration::from_micros(longest.unwrap_or_default()),
        }
    }
}

fn lock(mails: &Mutex<Vec<Mail>>) -> MutexGuard<'_, Vec<Mail>> {
    mails.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The relay itself: to be called by a program's `main`, nothing before or after. Deals with one
/// mail after the other and prints a line for each, until it is killed or ten minutes are over.
///
/// # Errors
/// Nobody reads what it prints.
pub fn run_child() -> Result<()> {
    let start = Instant::now();
    let mut output = stdout().lock();
    while start.elapsed() < LIFETIME {
        let (exchange, first) = timed(|| look_up(c"example.com", RecordType::MX));
        let (address, second) = timed(|| look_up(exchange.as_deref()?, RecordType::A));
        let line = Line {
            found: address.is_some(),
            longest_us: u64::try_from(first.max(second).as_micros())?,
        };
        serde_json::to_writer(&mut output, &line)?;
        writeln!(output)?;
        output.flush()?;
        thread::sleep(HANDLING);
    }
    Ok(())
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    (work(), start.elapsed())
}

/// Asks the stub resolver, and returns the first answer of that type: an exchange or an address.
fn look_up(name: &CStr, kind: RecordType) -> Option<CString> {
    /// `ns_c_in`
    const INTERNET: c_int = 1;

    let mut answer = [0_u8; 1024];
    // SAFETY: the name ends with a zero octet, and the resolver writes at most as many octets of
    // `answer` as it is told there are. Its state is this thread's own.
    let length = unsafe {
        res_query(
            name.as_ptr(),
            INTERNET,
            c_int::from(u16::from(kind)),
            answer.as_mut_ptr(),
            answer.len() as c_int,
        )
    };
    let answer = answer.get(..usize::try_from(length).ok()?)?;
    let message = Message::from_vec(answer).ok()?;
    message
        .answers
        .iter()
        .find_map(|record| match &record.data {
            RData::MX(mx) => CString::new(mx.exchange.to_ascii()).ok(),
            RData::A(address) => CString::new(address.to_string()).ok(),
            _ => None,
        })
}

#[link(name = "resolv")]
unsafe extern "C" {
    /// resolver(3)
    fn res_query(
        name: *const c_char,
        class: c_int,
        kind: c_int,
        answer: *mut u8,
        length: c_int,
    ) -> c_int;
}
