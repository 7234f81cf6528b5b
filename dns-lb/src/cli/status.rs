//! `dns-lb status`: asks the running agent how things are.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use axum::body::{Body, to_bytes};
use clap::Args;
use hyper::{Request, StatusCode, Uri, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{ConfigFile, print, table};
use crate::{
    api::{Timestamp, status::Status},
    config::Config,
};

/// Until the agent must have answered. It may first have to send slow clients away.
const DEADLINE: Duration = Duration::from_secs(5);
/// Octets of the largest document that is read: ten times the largest configuration's.
const MAX_DOCUMENT: usize = 32 * 1024 * 1024;

/// Ask the running agent how things are.
///
/// Finds the agent by api.listen in the configuration.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  dns-lb status
  dns-lb status --json | jq '.dataplane.counters.total'
  dns-lb status --url http://192.0.2.10:8053")]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigFile,

    /// Ask the agent at this address instead; needs no configuration.
    #[arg(long, value_name = "URL", value_parser = authority)]
    url: Option<String>,

    /// Print the status document, the same that /status gives.
    #[arg(long)]
    json: bool,
}

pub(super) fn execute(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let authority = match &arguments.url {
        Some(authority) => authority.clone(),
        None => {
            let config = Config::load(&arguments.config.config)?;
            reachable(config.api.listen).to_string()
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the I/O runtime")?;
    let document = runtime.block_on(async {
        tokio::time::timeout(DEADLINE, get_status(&authority))
            .await
            .unwrap_or_else(|_| bail!("the agent at {authority} did not answer in {DEADLINE:?}"))
    })?;
    let status: Status = serde_json::from_slice(&document).with_context(|| {
        format!("what answers at {authority} is no dns-lb agent, or one of another version")
    })?;
    if arguments.json {
        let document: serde_json::Value = serde_json::from_slice(&document)?;
        print(&format!("{document:#}\n"))?;
    } else {
        print(&table::render(&status, Timestamp::now()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Host and port of a URL.
fn authority(url: &str) -> anyhow::Result<String> {
    let form = "the form is http://192.0.2.10:8053";
    let url: Uri = url.parse().context(form)?;
    let plain = url.scheme_str().is_none_or(|scheme| scheme == "http");
    let bare = matches!(url.path(), "" | "/" | "/status") && url.query().is_none();
    match (url.host(), url.port_u16()) {
        (Some(host), Some(port)) if plain && bare => Ok(format!("{host}:{port}")),
        _ => bail!(form),
    }
}

/// Where to connect to reach a server that listens there: "any address" is none to connect to.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

async fn get_status(authority: &str) -> anyhow::Result<Vec<u8>> {
    let stream = TcpStream::connect(authority).await.with_context(|| {
        format!(
            "no agent answers at {authority}: start it with `dns-lb run`, or say where it is with \
             --config or --url"
        )
    })?;
    let failed = || format!("the agent at {authority} broke off");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .with_context(failed)?;
    // Ends when the response has been read and `sender` is gone; its errors reach the response too.
    tokio::spawn(connection);
    let request = Request::get("/status")
        .header(header::HOST, authority)
        .body(Body::empty())?;
    let response = sender.send_request(request).await.with_context(failed)?;
    let code = response.status();
    let body = to_bytes(Body::new(response.into_body()), MAX_DOCUMENT)
        .await
        .with_context(failed)?;
    ensure!(
        code == StatusCode::OK,
        "the agent at {authority} says {code}: {}",
        first_line(&body)
    );
    Ok(body.into())
}

/// What a server says in place of a document, fit for a terminal.
fn first_line(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let line = text.lines().next().unwrap_or_default();
    line.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use std::thread;

    use tokio::net::TcpListener;

    use super::*;
    use crate::api::server::{StatusRequest, StatusSource, serve};

    #[test]
    fn any_address_becomes_loopback() {
        for (listen, expected) in [
            ("0.0.0.0:8053", "127.0.0.1:8053"),
            ("[::]:8053", "[::1]:8053"),
            ("192.0.2.1:80", "192.0.2.1:80"),
        ] {
            assert_eq!(reachable(listen.parse().unwrap()).to_string(), expected);
        }
    }

    #[test]
    fn urls_name_a_host_and_a_port() {
        for (url, expected) in [
            ("http://192.0.2.1:8053", Some("192.0.2.1:8053")),
            ("http://[::1]:8053/", Some("[::1]:8053")),
            ("http://lb.example:8053/status", Some("lb.example:8053")),
            ("192.0.2.1:8053", Some("192.0.2.1:8053")),
            ("https://192.0.2.1:8053", None),
            ("http://192.0.2.1", None),
            ("http://192.0.2.1:8053/metrics", None),
            ("/status", None),
            ("", None),
        ] {
            let found = authority(url).ok();
            assert_eq!(found.as_deref(), expected, "{url}");
        }
    }

    #[tokio::test]
    async fn reads_back_what_the_server_gives() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let (source, mut requests) = StatusSource::new();
        tokio::spawn(serve(listener, source, std::future::pending()));
        let agent = tokio::spawn(async move {
            let Some(StatusRequest::Status(reply)) = requests.recv().await else {
                panic!("the status is asked for");
            };
            reply.send(Status::sample()).unwrap();
        });
        let document = get_status(&authority).await.unwrap();
        agent.await.unwrap();
        let status: Status = serde_json::from_slice(&document).unwrap();
        assert_eq!(status, Status::sample());

        // The agent's end of the queue is gone now.
        let error = get_status(&authority).await.unwrap_err().to_string();
        let expected = "says 503 Service Unavailable: the agent is stopping";
        assert!(error.ends_with(expected), "{error}");
    }

    #[tokio::test]
    async fn says_what_to_do_when_no_agent_runs() {
        let unused = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = unused.local_addr().unwrap().to_string();
        drop(unused);
        let error = format!("{:#}", get_status(&authority).await.unwrap_err());
        assert!(error.contains("start it with `dns-lb run`"), "{error}");
        assert!(error.contains("Connection refused"), "{error}");
    }

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
        };
        for expected in ["is no dns-lb agent", "broke off"] {
            let error = format!("{:#}", execute(&arguments).unwrap_err());
            assert!(error.contains(expected), "{error}");
        }
        server.join().unwrap();
    }
}
