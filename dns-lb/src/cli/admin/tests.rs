//! The verbs against a server on a real socket, and against none.

use std::{sync::mpsc, thread};

use clap::Parser as _;

use super::*;
use crate::{
    admin::{Admin, Refusal},
    api::admin::{
        AdminError, AdminReply, AdminRequest, AdminSocket, AdminSource, ReloadReport, serve,
    },
    api::server::StatusSource,
    cli::Cli,
    config::Api,
};

/// Runs a server with an agent behind it that answers every command alike; gives what was asked.
fn agent(
    answer: Result<AdminReply, AdminError>,
) -> (tempfile::TempDir, mpsc::Receiver<AdminRequest>) {
    let directory = tempfile::tempdir().unwrap();
    let api = Api {
        listen: ([127, 0, 0, 1], 8_053).into(),
        admin_socket: directory.path().join("admin.sock"),
        admin_mode: 0o600,
        admin_group: None,
    };
    let (seen, asked) = mpsc::channel();
    let (ready, bound) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let socket = AdminSocket::bind(&api).await.unwrap();
            ready.send(()).unwrap();
            let (status, _requests) = StatusSource::new();
            let (source, mut commands) = AdminSource::new();
            // Ends with the test that has `asked`.
            let serve_commands = async {
                while let Some(command) = commands.recv().await {
                    if seen.send(command.request).is_err() {
                        break;
                    }
                    let _ = command.reply.send(answer.clone());
                }
            };
            tokio::select! {
                () = serve(socket, status, source, std::future::pending()) => {}
                () = serve_commands => {}
            }
        });
    });
    bound.recv().unwrap();
    (directory, asked)
}

fn changed(admin: Admin, weight: u16, changed: bool) -> Changed {
    Changed {
        service: "resolvers".to_owned(),
        backend: "dns1".to_owned(),
        admin,
        weight,
        configured_weight: 1,
        changed,
    }
}

/// Runs a command line against the socket of a directory.
fn run(directory: &tempfile::TempDir, arguments: &[&str]) -> ExitCode {
    let socket = directory.path().join("admin.sock");
    let socket = socket.to_str().unwrap();
    let line = [&["dns-lb"], arguments, &["--socket", socket]].concat();
    Cli::try_parse_from(line).unwrap().execute()
}

#[test]
fn verbs_ask_for_what_they_say() {
    let (directory, asked) = agent(Ok(AdminReply::Changed(Changes {
        backends: Vec::new(),
        warning: None,
    })));
    for (arguments, expected) in [
        (
            &["drain", "resolvers/dns1", "--reason", "new disk"][..],
            "drain resolvers/dns1, reason \"new disk\"",
        ),
        (&["drain", "dns1", "--force"], "drain dns1, forced"),
        (
            &["drain", "dns1", "dns2", "--all-services"],
            "drain dns1 of all services dns2 of all services",
        ),
        (&["disable", "s/a", "t/b"], "disable s/a t/b"),
        (&["enable", "s/a", "--json"], "enable s/a"),
        (&["weight", "s/a", "t/b", "5"], "weight 5 s/a t/b"),
        (&["weight", "--force", "s/a", "0"], "weight 0 s/a, forced"),
        (
            &["weight", "a", "configured", "--all-services"],
            "weight as configured a of all services",
        ),
    ] {
        assert_eq!(run(&directory, arguments), ExitCode::SUCCESS);
        match asked.recv().unwrap() {
            AdminRequest::Change(change) => assert_eq!(change.to_string(), expected),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn reload_asks_for_a_reload() {
    let (directory, asked) = agent(Ok(AdminReply::Reloaded(ReloadReport::default())));
    for (arguments, dry_run) in [
        (&["reload"][..], false),
        (&["reload", "--dry-run"], true),
        (&["reload", "--json"], false),
    ] {
        assert_eq!(run(&directory, arguments), ExitCode::SUCCESS);
        assert_eq!(asked.recv().unwrap(), AdminRequest::Reload { dry_run });
    }
}

#[test]
fn exit_codes_tell_refusals_from_bad_configurations() {
    let none = Refusal::WouldLeaveNone {
        services: vec!["s".to_owned()],
    };
    let faults = "f:1:1: a\nf:2:1: b".to_owned();
    for (error, expected) in [
        (AdminError::Refused(none), ExitCode::FAILURE),
        (AdminError::BadConfiguration(faults), ExitCode::from(2)),
        (AdminError::Impossible("x".to_owned()), ExitCode::FAILURE),
        (AdminError::Failed("x".to_owned()), ExitCode::FAILURE),
    ] {
        let text = error.to_string();
        let (directory, _asked) = agent(Err(error));
        let agent = Agent {
            config: ConfigFile {
                config: "/nonexistent".into(),
            },
            socket: Some(directory.path().join("admin.sock")),
        };
        let refused = agent.ask("/reload", &serde_json::json!({})).unwrap_err();
        assert_eq!(refused.to_string(), text);
        assert_eq!(run(&directory, &["reload"]), expected, "{text}");
    }
}

#[test]
fn finds_the_socket_by_the_configuration() {
    let (directory, asked) = agent(Ok(AdminReply::Reloaded(ReloadReport::default())));
    let config = directory.path().join("dns-lb.toml");
    let socket = directory.path().join("admin.sock");
    let text = format!(
        "interfaces = [\"eth0\"]\napi.admin_socket = {socket:?}\n\
         [[service]]\nname = \"s\"\nvips = [\"192.0.2.1\"]\n\
         [[service.backend]]\nname = \"b\"\naddress = \"192.0.2.2\"\n"
    );
    fs::write(&config, text).unwrap();
    let line = ["dns-lb", "reload", "--config", config.to_str().unwrap()];
    assert_eq!(Cli::parse_from(line).execute(), ExitCode::SUCCESS);
    asked.recv().unwrap();
}

#[test]
fn wrong_usage_is_refused_before_anybody_is_asked() {
    for arguments in [
        &["drain"][..],
        &["drain", "a/b/c"],
        &["drain", "s/b", "--reason", "a\nb"],
        &["enable", "s/b", "--force"],
        &["weight", "s/b"],
        &["weight", "s/b", "1001"],
        &["reload", "s"],
    ] {
        let line = ["dns-lb"].iter().chain(arguments);
        Cli::try_parse_from(line).unwrap_err();
    }
    let nobody = tempfile::tempdir().unwrap();
    let both = ["drain", "s/b", "--all-services"];
    assert_eq!(run(&nobody, &both), ExitCode::from(2));
    assert_eq!(run(&nobody, &["drain", "s/b"]), ExitCode::FAILURE);
}

#[test]
fn lines_say_what_holds() {
    for (changed, expected) in [
        (
            changed(Admin::Draining, 1, true),
            "resolvers/dns1: draining, weight 1\n",
        ),
        (
            changed(Admin::Enabled, 5, true),
            "resolvers/dns1: enabled, weight 5 (configured: 1)\n",
        ),
        (
            changed(Admin::Disabled, 0, false),
            "resolvers/dns1: disabled, weight 0 (configured: 1), unchanged\n",
        ),
    ] {
        assert_eq!(line(&changed), expected);
    }
}

#[test]
fn says_what_to_do_when_there_is_no_way_to_the_agent() {
    let path = Path::new("/run/dns-lb/admin.sock");
    let text = |number| {
        let error = io::Error::from_raw_os_error(number);
        cannot_connect(path, &error).to_string()
    };
    for number in [libc::ENOENT, libc::ECONNREFUSED] {
        let text = text(number);
        assert!(text.contains("start it with `dns-lb run`"), "{text}");
    }
    assert!(text(libc::EACCES).contains("may not command the agent"));
    assert!(text(libc::EAGAIN).contains("is busy: try again"));
    assert!(text(libc::ENOTSOCK).contains("cannot connect"));

    let expected = "members of the group root may, and root: see api.admin_group";
    assert_eq!(who_may(0o140_660, 0), expected);
    let numbered = who_may(0o140_660, 4_294_967_294);
    assert!(numbered.contains("the group 4294967294 may"), "{numbered}");
    let alone = "only root may: use sudo, or see api.admin_mode";
    assert_eq!(who_may(0o140_600, 0), alone);
    assert_eq!(who_may(0o140_640, 0), alone);
}

#[test]
fn what_is_no_agent_is_an_error() {
    use std::io::{Read as _, Write as _};

    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("admin.sock");
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let server = thread::spawn(move || {
        for response in [
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]",
            "HTTP/1.1 400 Bad\r\ncontent-length: 2\r\n\r\nno",
            "SSH-2.0-x\r\n",
        ] {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 1_024]).unwrap();
            stream.write_all(response.as_bytes()).unwrap();
        }
    });
    for expected in ["is no dns-lb agent", "is no dns-lb agent", "broke off"] {
        let agent = Agent {
            config: ConfigFile {
                config: "/nonexistent".into(),
            },
            socket: Some(socket.clone()),
        };
        let answered = agent.ask("/reload", &serde_json::json!({}));
        let error = answered.and_then(|document| understand::<ReloadReport>(&document));
        let error = format!("{:#}", error.unwrap_err());
        assert!(error.contains(expected), "{error}");
    }
    server.join().unwrap();
}
