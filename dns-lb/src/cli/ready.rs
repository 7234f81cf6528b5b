//! `dns-lb ready`: whether clients should be sent to this host, as an exit code.

use std::{
    io::{self, Write as _},
    process::ExitCode,
    time::Duration,
};

use clap::Args;
use hyper::StatusCode;

use super::{
    ConfigFile,
    client::{self, ask, first_line},
    print, runtime,
};
use crate::config::Config;

/// Who runs this every second has no longer.
const DEADLINE: Duration = Duration::from_millis(500);

/// Say whether clients should be sent to this host: exit 0 if so, 1 if not.
///
/// It is ready when the program is attached, and a service has as many usable servers as its `quorum`
/// says. An agent that does not run, or does not answer within half a second, is not ready: packets
/// are steered without it, but nobody would notice the next server's death. Made for keepalived's
/// track_script and the like: it asks the agent on this host and sends nothing to any server.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  dns-lb ready
  dns-lb ready --service resolvers --service zones     both of them
  dns-lb ready --quiet && echo ready
  dns-lb ready --json | jq --raw-output '.reasons[]'

In keepalived.conf:
  vrrp_script dns-lb {
    script \"/usr/sbin/dns-lb ready --quiet\"
    interval 1
    fall 2
  }")]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigFile,

    /// Ask the agent at this address instead; needs no configuration.
    #[arg(long, value_name = "URL", value_parser = client::authority)]
    url: Option<String>,

    /// This service has to be ready; may be given several times. Without: any service.
    #[arg(long, value_name = "NAME")]
    service: Vec<String>,

    /// Say nothing.
    #[arg(long, short, conflicts_with = "json")]
    quiet: bool,

    /// Print a JSON document: ready, and reasons if it is not (a text each).
    #[arg(long)]
    json: bool,
}

pub(super) fn execute(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let authority = find(arguments)?;
    let runtime = runtime()?;
    let reasons = runtime.block_on(reasons(&authority, &arguments.service));
    // A look-up of a name may still be under way.
    runtime.shutdown_background();
    let ready = reasons.is_empty();
    if arguments.json {
        let document = serde_json::json!({ "ready": ready, "reasons": reasons });
        print(&format!("{document:#}\n"))?;
    } else if ready && !arguments.quiet {
        print("ready\n")?;
    } else if !arguments.quiet {
        for reason in &reasons {
            // Nobody may be left who reads it.
            let _ = writeln!(io::stderr(), "not ready: {reason}");
        }
    }
    Ok(match ready {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// Host and port of the agent. A file that somebody edits says nothing of the agent that runs, so a fault
/// in it is no reason to send clients elsewhere.
fn find(arguments: &Arguments) -> anyhow::Result<String> {
    match &arguments.url {
        Some(authority) => Ok(authority.clone()),
        None => {
            let listen = Config::load_listen(&arguments.config.config)?;
            Ok(client::reachable(listen).to_string())
        }
    }
}

/// Why it is not ready; none: it is.
async fn reasons(authority: &str, services: &[String]) -> Vec<String> {
    let paths = match services {
        [] => vec!["/readyz".to_owned()],
        services => services
            .iter()
            .map(|service| format!("/readyz/{}", client::path_segment(service)))
            .collect(),
    };
    let mut reasons = Vec::new();
    for path in paths {
        match ask(authority, &path, DEADLINE).await {
            Ok((StatusCode::OK, _)) => {}
            Ok((StatusCode::SERVICE_UNAVAILABLE, body)) => {
                let text = String::from_utf8_lossy(&body);
                reasons.extend(text.lines().map(|line| first_line(line.as_bytes())));
            }
            Ok((_, body)) => reasons.push(format!("{path}: {}", first_line(&body))),
            Err(error) => reasons.push(format!("{error:#}")),
        }
        reasons.dedup();
    }
    reasons
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::api::{
        server::{StatusRequest, StatusSource, serve},
        status::Status,
    };

    /// An agent with a service that has one of two servers.
    async fn agent() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let (source, mut requests) = StatusSource::new();
        tokio::spawn(serve(listener, source, std::future::pending()));
        tokio::spawn(async move {
            while let Some(StatusRequest::Status(reply)) = requests.recv().await {
                let mut status = Status::sample();
                let mut other = status.services[0].clone();
                other.name = "zones".to_owned();
                other.quorum = 2;
                status.services.push(other);
                let _ = reply.send(status);
            }
        });
        authority
    }

    #[tokio::test]
    async fn any_service_or_all_that_are_named() {
        let authority = agent().await;
        let asked = async |services: &[&str]| {
            let services: Vec<String> = services.iter().map(ToString::to_string).collect();
            reasons(&authority, &services).await
        };
        assert!(asked(&[]).await.is_empty());
        assert!(asked(&["resolvers"]).await.is_empty());
        let too_few = ["too few usable backends: zones has 1 of at least 2"];
        assert_eq!(asked(&["zones"]).await, too_few);
        assert_eq!(asked(&["resolvers", "zones"]).await, too_few);
        let nobody = asked(&["nobody"]).await;
        assert_eq!(
            nobody,
            ["/readyz/nobody: not found: there is no service of this name"]
        );
    }

    #[test]
    fn only_where_the_agent_listens_has_to_be_legible() {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("dns-lb.toml");
        let found = |text: &str| {
            std::fs::write(&config, text).unwrap();
            find(&Arguments {
                config: ConfigFile {
                    config: config.clone(),
                },
                url: None,
                service: vec![],
                quiet: true,
                json: false,
            })
        };
        let listen = "[api]\nlisten = \"0.0.0.0:8054\"\nadmin_mode = 7\n";
        assert_eq!(found(listen).unwrap(), "127.0.0.1:8054");
        let half = format!("{listen}[[service]]\nname = \"half");
        assert_eq!(found(&half).unwrap(), "127.0.0.1:8054");
        assert_eq!(found("").unwrap(), "127.0.0.1:8053");
        let wrong = found("[api]\nlisten = 7").unwrap_err();
        assert!(wrong.to_string().contains("api.listen"), "{wrong}");
    }

    #[tokio::test]
    async fn nobody_there_is_not_ready() {
        let unused = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = unused.local_addr().unwrap().to_string();
        drop(unused);
        let said = reasons(&authority, &[]).await;
        assert!(said[0].starts_with("no agent answers at "), "{said:?}");
    }
}
