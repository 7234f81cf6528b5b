//! The server on a real socket.

use std::{path::PathBuf, time::Instant};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::sleep,
};

use super::*;
use crate::{
    admin::{Action, Admin, Changed, Refusal},
    api::{
        connections::{HEADER_DEADLINE, HEADER_SIZE, SHUTDOWN_DEADLINE},
        server::StatusRequest,
        testing::raise_descriptor_limit,
    },
    config::Api,
};

/// A running server. The agent's ends of the channels are kept until they are wanted.
struct Server {
    directory: tempfile::TempDir,
    commands: Option<mpsc::Receiver<AdminCommand>>,
    requests: Option<mpsc::Receiver<StatusRequest>>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

type Answer = Result<AdminReply, AdminError>;

impl Server {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = AdminSocket::bind(&Api {
            listen: ([127, 0, 0, 1], 8_053).into(),
            admin_socket: directory.path().join("admin.sock"),
            admin_mode: 0o600,
            admin_group: None,
        })
        .await
        .unwrap();
        let (status, requests) = StatusSource::new();
        let (source, commands) = AdminSource::new();
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async { stopped.await.unwrap_or_default() };
        Self {
            directory,
            commands: Some(commands),
            requests: Some(requests),
            stop: Some(stop),
            task: tokio::spawn(serve(socket, status, source, shutdown)),
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("admin.sock")
    }

    /// Answers commands as the agent does; hands on what was asked.
    fn answer(
        mut self,
        answer: impl Fn(&AdminRequest) -> Answer + Send + 'static,
    ) -> (Self, mpsc::UnboundedReceiver<(AdminRequest, Peer)>) {
        let mut commands = self.commands.take().unwrap();
        let (seen, asked) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(command) = commands.recv().await {
                let _ = command.reply.send(answer(&command.request));
                let _ = seen.send((command.request, command.peer));
            }
        });
        (self, asked)
    }

    async fn connect(&self) -> UnixStream {
        UnixStream::connect(self.path()).await.unwrap()
    }

    /// Sends octets and reads until the server closes.
    async fn exchange(&self, request: &[u8]) -> String {
        let mut stream = self.connect().await;
        // Who is sent away sees the end, or a reset if it spoke too late.
        let _ = stream.write_all(request).await;
        let mut response = Vec::new();
        let _ = stream.read_to_end(&mut response).await;
        String::from_utf8_lossy(&response).into_owned()
    }

    /// The code and the document that a request is answered with.
    async fn post(&self, path: &str, body: &str) -> (u16, Value) {
        let length = body.len();
        let request =
            format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{body}");
        parse(&self.exchange(request.as_bytes()).await)
    }
}

#[track_caller]
fn parse(response: &str) -> (u16, Value) {
    let (head, body) = response.split_once("\r\n\r\n").expect(response);
    let code = head.split(' ').nth(1).expect(head);
    (
        code.parse().unwrap(),
        serde_json::from_str(body).expect(body),
    )
}

fn drain() -> Value {
    json!({
        "backends": [{"service": "resolvers", "backend": "dns1"}],
        "action": "drain",
        "reason": "disk",
    })
}

fn changes(backends: Vec<Changed>) -> Changes {
    Changes {
        backends,
        warning: None,
    }
}

fn changed() -> Changed {
    Changed {
        service: "resolvers".to_owned(),
        backend: "dns1".to_owned(),
        admin: Admin::Draining,
        weight: 1,
        configured_weight: 1,
        changed: true,
    }
}

#[tokio::test]
async fn hands_a_change_on_with_who_asks() {
    let (server, mut asked) = Server::start()
        .await
        .answer(|_| Ok(AdminReply::Changed(changes(vec![changed()]))));
    let (code, document) = server.post("/change", &drain().to_string()).await;
    assert_eq!(code, 200);
    assert_eq!(
        document,
        json!({"backends": [{
            "service": "resolvers",
            "backend": "dns1",
            "admin": "draining",
            "weight": 1,
            "configured_weight": 1,
            "changed": true,
        }]})
    );
    let (request, peer) = asked.recv().await.unwrap();
    let AdminRequest::Change(change) = request else {
        panic!("{request:?}");
    };
    assert_eq!(change.action, Action::Drain);
    assert_eq!(change.to_string(), "drain resolvers/dns1, reason \"disk\"");
    // SAFETY: takes nothing and cannot fail.
    let uid = unsafe { libc::geteuid() };
    assert_eq!(peer.uid, uid);
    assert_eq!(peer.pid, i32::try_from(std::process::id()).ok());
    let text = peer.to_string();
    assert!(text.starts_with(&format!("uid {uid}")), "{text}");
    assert!(
        text.ends_with(&format!(", pid {}", std::process::id())),
        "{text}"
    );
}

#[tokio::test]
async fn hands_a_reload_on() {
    let report = ReloadReport {
        changes: vec!["+ resolvers/dns3".to_owned()],
        warnings: Vec::new(),
        applied: false,
        generation: 7,
    };
    let reported = report.clone();
    let (server, mut asked) = Server::start()
        .await
        .answer(move |_| Ok(AdminReply::Reloaded(reported.clone())));
    for (body, dry_run) in [
        (r#"{"dry_run": true}"#, true),
        (r#"{"dry_run": false}"#, false),
        ("{}", false),
    ] {
        let (code, document) = server.post("/reload", body).await;
        assert_eq!(code, 200);
        assert_eq!(
            serde_json::from_value::<ReloadReport>(document).unwrap(),
            report
        );
        let (request, _) = asked.recv().await.unwrap();
        assert_eq!(request, AdminRequest::Reload { dry_run });
    }
}

#[tokio::test]
async fn gives_the_status_too() {
    let mut server = Server::start().await;
    let mut requests = server.requests.take().unwrap();
    tokio::spawn(async move {
        let request = requests.recv().await.unwrap();
        let StatusRequest::Status(reply) = request else {
            panic!("the status is asked for");
        };
        reply.send(Status::sample()).unwrap();
    });
    let get = b"GET /status HTTP/1.1\r\nhost: x\r\n\r\n";
    let (code, document) = parse(&server.exchange(get).await);
    assert_eq!(code, 200);
    let status: Status = serde_json::from_value(document).unwrap();
    assert_eq!(status, Status::sample());

    let (code, document) = parse(&server.exchange(get).await);
    assert_eq!(
        (code, &document["error"]),
        (503, &json!("the agent is stopping"))
    );
}

#[tokio::test]
async fn says_why_nothing_was_done() {
    let none = || Refusal::WouldLeaveNone {
        services: vec!["resolvers".to_owned()],
    };
    let which = || Refusal::WhichService {
        backend: "dns1".to_owned(),
        services: vec!["a".to_owned()],
    };
    let faults = "f:1:1: a: unknown key\nf:2:1: b: unknown key";
    for (error, expected) in [
        (AdminError::Refused(none()), 409),
        (AdminError::Refused(which()), 400),
        (AdminError::BadConfiguration(faults.to_owned()), 400),
        (AdminError::Impossible("x".to_owned()), 409),
        (AdminError::Failed("x".to_owned()), 500),
    ] {
        let text = error.to_string();
        let (server, _asked) = Server::start().await.answer(move |_| Err(error.clone()));
        let (code, document) = server.post("/reload", "{}").await;
        assert_eq!((code, document), (expected, json!({"error": text})));
    }
}

#[tokio::test]
async fn refuses_what_is_no_command() {
    let (server, mut asked) = Server::start().await.answer(|_| unreachable!());
    let huge = format!("{{\"dry_run\": true}}{}", " ".repeat(BODY_SIZE));
    for (path, body, expected, words) in [
        ("/change", "", 400, "EOF while parsing"),
        ("/change", "{}", 400, "missing field `backends`"),
        ("/change", "[1, 2", 400, "the body is not what is wanted"),
        (
            "/reload",
            r#"{"dry": 1}"#,
            400,
            "unknown field `dry`, expected `dry_run`",
        ),
        ("/reload", "{} {}", 400, "trailing characters"),
        ("/reload", "{\"\\u001b[2J\": 1}", 400, "\\u{1b}[2J"),
        (
            "/reload",
            &huge,
            413,
            "must not be larger than 65536 octets",
        ),
        (
            "/reload/",
            "{}",
            404,
            "there are POST /change, POST /reload",
        ),
        ("/status", "{}", 405, "GET for /status"),
    ] {
        let (code, document) = server.post(path, body).await;
        let error = document["error"].as_str().unwrap();
        assert_eq!(code, expected, "{path} {body:.40}");
        assert!(error.contains(words), "{error}");
        assert!(!error.contains(char::is_control), "{error:?}");
    }
    // A body of no announced length, which would never end.
    let mut stream = server.connect().await;
    let head = b"POST /reload HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head).await.unwrap();
    let chunk = format!("1000\r\n{}\r\n", " ".repeat(0x1000));
    while stream.write_all(chunk.as_bytes()).await.is_ok() {}
    let mut response = Vec::new();
    let _ = stream.read_to_end(&mut response).await;
    assert!(response.starts_with(b"HTTP/1.1 413 "));

    let response = server.exchange(b"GET /change HTTP/1.1\r\n\r\n").await;
    assert!(response.starts_with("HTTP/1.1 405 "), "{response}");
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(2 * HEADER_SIZE));
    let response = server.exchange(long.as_bytes()).await;
    assert!(!response.starts_with("HTTP/1.1 200 "), "{response}");
    drop(server);
    assert!(asked.try_recv().is_err(), "nothing has reached the agent");
}

/// Octets of all kinds, and requests with a piece replaced: the server serves on.
#[tokio::test]
async fn garbage_harms_nobody() {
    use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

    let (server, _asked) = Server::start()
        .await
        .answer(|_| Ok(AdminReply::Changed(changes(Vec::new()))));
    let body = drain().to_string();
    let good = format!(
        "POST /change HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut random = StdRng::seed_from_u64(4);
    for round in 0..400 {
        let mut octets = good.clone().into_bytes();
        if round % 4 == 0 {
            octets = (0..random.random_range(1..200))
                .map(|_| random.random())
                .collect();
        } else {
            for _ in 0..random.random_range(1..6) {
                let place = random.random_range(0..octets.len());
                octets[place] = random.random();
            }
        }
        let mut stream = server.connect().await;
        let _ = stream.write_all(&octets).await;
        // No more will come: the server need not wait for it.
        let _ = stream.shutdown().await;
        let mut response = Vec::new();
        let _ = stream.read_to_end(&mut response).await;
    }
    let (code, _) = server.post("/change", &body).await;
    assert_eq!(code, 200);
}

#[tokio::test]
async fn says_that_the_agent_is_gone() {
    let mut server = Server::start().await;
    server.commands = None;
    let (code, document) = server.post("/reload", "{}").await;
    assert_eq!(
        (code, &document["error"]),
        (503, &json!("the agent is stopping"))
    );
}

/// On the paused clock: an agent that does not answer.
#[tokio::test(start_paused = true)]
async fn an_agent_has_its_time_to_answer() {
    let (source, mut commands) = AdminSource::new();
    let peer = Peer {
        uid: 0,
        gid: 0,
        pid: None,
        user: Some("root".to_owned()),
    };
    let start = tokio::time::Instant::now();
    let request = AdminRequest::Reload { dry_run: false };
    let unanswered = source.ask(request, peer).await.unwrap_err();
    assert_eq!(unanswered, Unanswered::Busy(Duration::from_secs(10)));
    assert_eq!(start.elapsed(), Duration::from_secs(10));
    // The agent can see that nobody waits.
    let command = commands.recv().await.unwrap();
    assert!(command.reply.is_closed());
    assert_eq!(command.peer.to_string(), "uid 0 (root)");
}

#[tokio::test]
async fn sends_away_who_does_not_finish_a_request() {
    let server = Server::start().await;
    let start = Instant::now();
    let mut silent = server.connect().await;
    let mut slow = server.connect().await;
    let head = b"POST /reload HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n";
    slow.write_all(head).await.unwrap();
    let drip = async {
        // One octet now and then, for as long as the server takes it.
        while slow.write_all(b" ").await.is_ok() {
            sleep(Duration::from_millis(50)).await;
        }
        let mut response = Vec::new();
        let _ = slow.read_to_end(&mut response).await;
        response
    };
    let mut received = Vec::new();
    let (closed, response) = tokio::join!(silent.read_to_end(&mut received), drip);
    closed.unwrap();
    let response = String::from_utf8_lossy(&response).into_owned();
    assert!(response.starts_with("HTTP/1.1 400 "), "{response}");
    let took = start.elapsed();
    assert!(
        took >= HEADER_DEADLINE / 2 && took < LIMITS.deadline / 2,
        "{took:?}"
    );
}

#[tokio::test]
async fn serves_on_beside_connections_that_say_nothing() {
    raise_descriptor_limit();
    let (server, _asked) = Server::start()
        .await
        .answer(|_| Ok(AdminReply::Reloaded(ReloadReport::default())));
    let mut idle = Vec::new();
    for _ in 0..5 * LIMITS.connections {
        idle.push(server.connect().await);
    }
    let answered = timeout(5 * HEADER_DEADLINE, server.post("/reload", "{}"));
    let (code, _) = answered.await.unwrap();
    assert_eq!(code, 200);
}

#[tokio::test]
async fn stops_although_a_client_lingers() {
    let mut server = Server::start().await;
    let _lingering = server.connect().await;
    // It has been accepted when one that came later has been answered.
    let response = server.exchange(b"GET / HTTP/1.1\r\n\r\n").await;
    assert!(response.starts_with("HTTP/1.1 404 "), "{response}");
    server.stop.take().unwrap().send(()).unwrap();
    timeout(5 * SHUTDOWN_DEADLINE, &mut server.task)
        .await
        .unwrap()
        .unwrap();
    assert!(!server.path().exists());
}
