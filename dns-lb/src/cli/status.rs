//! `dns-lb status`: asks the running agent how things are.

mod watch;

use std::{io, process::ExitCode, time::Duration};

use clap::Args;

use super::{
    ConfigFile,
    client::{self, DEADLINE, get_status},
    palette::Palette,
    print, runtime, table,
};
use crate::api::Timestamp;

/// Ask the running agent how things are.
///
/// Finds the agent by api.listen in the configuration. Q/S is packets in the last second, which for
/// UDP are queries; SHARE is the part of new queries. Below the table is what is wrong, and why. There
/// are colours on a terminal, unless NO_COLOR is set.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  dns-lb status
  dns-lb status --watch                  again every 2 seconds, until q or Ctrl-C
  dns-lb status --watch 0.5 | tee log    one table after another
  dns-lb status --json | jq '.dataplane.counters.total'
  dns-lb status --json --watch | jq -r '.services[].packets_per_second'
  dns-lb status --url http://192.0.2.10:8053")]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigFile,

    /// Ask the agent at this address instead; needs no configuration.
    #[arg(long, value_name = "URL", value_parser = client::authority)]
    url: Option<String>,

    /// Print the status document, the same that /status gives; with --watch one a line.
    #[arg(long)]
    json: bool,

    /// Ask again and again: every 2 seconds, or every SECONDS, 0.1 at least. Goes on while no agent
    /// answers, and says so.
    #[arg(
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        default_missing_value = "2",
        value_parser = interval
    )]
    watch: Option<Duration>,
}

pub(super) fn execute(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let authority = client::find(arguments.url.as_ref(), &arguments.config)?;
    let runtime = runtime()?;
    if let Some(every) = arguments.watch {
        runtime.block_on(watch::watch(&authority, every, arguments.json))?;
        // A look-up of a name may still be under way.
        runtime.shutdown_background();
        return Ok(ExitCode::SUCCESS);
    }
    let (status, document) = runtime.block_on(get_status(&authority, DEADLINE))?;
    if arguments.json {
        let document: serde_json::Value = serde_json::from_slice(&document)?;
        print(&format!("{document:#}\n"))?;
    } else {
        let palette = Palette::of(&io::stdout());
        print(&table::render(&status, Timestamp::now(), palette))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// From one question to the next.
fn interval(text: &str) -> Result<Duration, String> {
    const DAY: f64 = 86_400.0;
    match text.parse() {
        Ok(seconds @ 0.1..=DAY) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(format!("a number of seconds from 0.1 to {DAY}")),
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn what_is_no_agent_is_an_error() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let server = thread::spawn(move || {
            use std::io::{Read as _, Write as _};
            for response in [
                "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
                "SSH-2.0-x\r\n",
            ] {
                let (mut stream, _) = listener.accept().unwrap();
                let _ = stream.read(&mut [0; 1_024]).unwrap();
                stream.write_all(response.as_bytes()).unwrap();
            }
        });
        let arguments = Arguments {
            config: ConfigFile {
                config: "/nonexistent".into(),
            },
            url: Some(authority),
            json: false,
            watch: None,
        };
        for expected in ["is no dns-lb agent", "broke off"] {
            let error = format!("{:#}", execute(&arguments).unwrap_err());
            assert!(error.contains(expected), "{error}");
        }
        server.join().unwrap();
    }

    #[test]
    fn intervals_are_seconds() {
        for (text, expected) in [
            ("2", Some(2_000)),
            ("0.1", Some(100)),
            ("86400", Some(86_400_000)),
            ("0.09", None),
            ("-1", None),
            ("NaN", None),
            ("inf", None),
            ("2s", None),
        ] {
            let found = interval(text).ok();
            assert_eq!(found, expected.map(Duration::from_millis), "{text}");
        }
    }
}
