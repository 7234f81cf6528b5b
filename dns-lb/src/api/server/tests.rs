//! The server on a real socket.

use std::{
    future::poll_fn,
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
    task::Poll,
    time::Instant,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::{JoinHandle, JoinSet},
    time::sleep,
};

use super::{
    super::{
        connections::{HEADER_DEADLINE, HEADER_SIZE, SHUTDOWN_DEADLINE},
        testing::raise_descriptor_limit,
    },
    *,
};

/// A running server.
struct Server {
    address: SocketAddr,
    requests: Option<mpsc::Receiver<StatusRequest>>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (source, requests) = StatusSource::new();
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async { stopped.await.unwrap_or_default() };
        Self {
            address,
            requests: Some(requests),
            stop: Some(stop),
            task: tokio::spawn(serve(listener, source, shutdown)),
        }
    }

    /// Answers requests for the status as the agent does.
    fn answer(self) -> Self {
        self.answer_with(|_| ())
    }

    /// The same, with a document that is not the sample.
    fn answer_with(mut self, change: fn(&mut Status)) -> Self {
        let mut requests = self.requests.take().unwrap();
        tokio::spawn(async move {
            while let Some(request) = requests.recv().await {
                match request {
                    StatusRequest::Status(reply) => {
                        let mut status = Status::sample();
                        change(&mut status);
                        let _ = reply.send(status);
                    }
                    StatusRequest::History(reply) => drop(reply.send(History::sample())),
                    StatusRequest::Backend {
                        service,
                        backend,
                        reply,
                    } => drop(reply.send(backend_sample(service, backend))),
                }
            }
        });
        self
    }

    /// Sends octets and reads until the server closes.
    async fn exchange(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let mut response = String::new();
        // Who is sent away sees the end, or a reset if it spoke too late.
        if stream.write_all(request.as_bytes()).await.is_ok() {
            let _ = stream.read_to_string(&mut response).await;
        }
        response
    }

    async fn get(&self, path: &str) -> (String, String) {
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
        let response = self.exchange(&request).await;
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        (head.to_ascii_lowercase(), body.to_owned())
    }
}

#[tokio::test]
async fn gives_the_document_made_when_asked() {
    let server = Server::start().await.answer();
    let (head, body) = server.get("/status").await;
    assert!(head.starts_with("http/1.1 200 "), "{head}");
    assert!(head.contains("content-type: application/json"), "{head}");
    assert!(head.contains("cache-control: no-store"), "{head}");
    let document: Status = serde_json::from_str(&body).unwrap();
    assert_eq!(document, Status::sample());
}

/// What there is of the one backend that there is.
fn backend_sample(service: String, backend: String) -> Option<BackendHistory> {
    let known = &Status::sample().services[0].backends[0];
    (backend == known.name).then(|| BackendHistory {
        service,
        backend,
        packets_per_second: vec![1.0, 2.5],
        probes: known.last_probe.clone().into_iter().collect(),
    })
}

#[tokio::test]
async fn gives_what_has_been() {
    let server = Server::start().await.answer();
    let (head, body) = server.get("/history").await;
    assert!(head.starts_with("http/1.1 200 "), "{head}");
    assert!(head.contains("cache-control: no-store"), "{head}");
    let document: History = serde_json::from_str(&body).unwrap();
    assert_eq!(document, History::sample());

    let (head, body) = server.get("/history/resolvers/dns1").await;
    assert!(head.starts_with("http/1.1 200 "), "{head}");
    let expected = "{\"service\":\"resolvers\",\"backend\":\"dns1\",\
                    \"packets_per_second\":[1.0,2.5],\"probes\":[{\"at\":";
    assert!(body.starts_with(expected), "{body}");

    for path in ["/history/resolvers/nobody", "/history/resolvers/%ff"] {
        let (head, _) = server.get(path).await;
        assert!(head.starts_with("http/1.1 4"), "{path}: {head}");
    }
}

#[tokio::test]
async fn gives_metrics_and_says_whether_it_is_ready() {
    let server = Server::start().await.answer();
    let (head, body) = server.get("/metrics").await;
    assert!(head.starts_with("http/1.1 200 "), "{head}");
    assert!(
        head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"),
        "{head}"
    );
    assert!(body.starts_with("# HELP dns_lb_"), "{body}");
    assert!(body.contains("\ndns_lb_generation 7\n"), "{body}");
    let (head, body) = server.get("/readyz").await;
    assert!(head.starts_with("http/1.1 200 "), "{head}");
    assert_eq!(body, "ready\n");
    assert_eq!(server.get("/readyz/resolvers").await.1, "ready\n");
    let (head, _) = server.get("/readyz/nobody").await;
    assert!(head.starts_with("http/1.1 404 "), "{head}");

    let server = Server::start().await.answer_with(|status| {
        status.dataplane.interfaces.clear();
        status.services[0].usable = 0;
    });
    let (head, body) = server.get("/readyz").await;
    assert!(head.starts_with("http/1.1 503 "), "{head}");
    let expected = "the program is not attached to any interface\n\
                    too few usable backends: resolvers has 0 of at least 1\n";
    assert_eq!(body, expected);
    // Dead is who does not answer.
    assert!(server.get("/livez").await.0.starts_with("http/1.1 200 "));
}

#[tokio::test]
async fn answers_what_it_has_and_nothing_else() {
    let server = Server::start().await;
    let (head, body) = server.get("/livez").await;
    assert!(head.starts_with("http/1.1 200 "), "{head}");
    assert_eq!(body, "ok\n");
    let (head, body) = server.get("/").await;
    assert!(head.starts_with("http/1.1 200 "), "{head}");
    assert!(head.contains("content-type: text/html"), "{head}");
    assert!(body.starts_with("<!doctype html>"), "{body}");
    let (head, _) = server.get("/status/").await;
    assert!(head.starts_with("http/1.1 404 "), "{head}");

    for path in ["/", "/status", "/history/resolvers/dns1", "/metrics", "/no"] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: rebind.example:8053\r\n\r\n");
        let response = server.exchange(&request).await;
        assert!(response.starts_with("HTTP/1.1 421 "), "{path}: {response}");
    }

    let post = "POST /status HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\nx";
    let response = server.exchange(post).await;
    assert!(response.starts_with("HTTP/1.1 405 "), "{response}");
    assert!(
        response.to_ascii_lowercase().contains("allow: get,head"),
        "{response}"
    );
    let garbage = server.exchange("\u{1}\u{2}\u{3}\r\n\r\n").await;
    assert!(garbage.starts_with("HTTP/1.1 400 "), "{garbage}");
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(2 * HEADER_SIZE));
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    // The server may close before it has taken everything.
    let _ = stream.write_all(long.as_bytes()).await;
    let mut response = Vec::new();
    let _ = stream.read_to_end(&mut response).await;
    assert!(!response.starts_with(b"HTTP/1.1 200 "));
}

#[tokio::test]
async fn says_that_the_agent_is_busy_or_gone() {
    const ASKING: [&str; 4] = ["/status", "/history", "/metrics", "/readyz"];
    let mut server = Server::start().await;
    for path in ASKING {
        let (head, body) = server.get(path).await;
        assert!(head.starts_with("http/1.1 503 "), "{path}: {head}");
        assert_eq!(body, "the agent is busy: try again\n", "{path}");
    }
    server.requests = None;
    for path in ASKING {
        let (head, body) = server.get(path).await;
        assert!(head.starts_with("http/1.1 503 "), "{path}: {head}");
        assert_eq!(body, "the agent is stopping\n", "{path}");
    }
}

#[tokio::test]
async fn sends_away_who_does_not_finish_a_request() {
    let server = Server::start().await;
    let start = Instant::now();
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    let mut slow = TcpStream::connect(server.address).await.unwrap();
    let drip = async {
        // One octet now and then, for as long as the server takes it.
        for octet in std::iter::repeat(b"GET /livez HTTP/1.1\r\nx: ").flatten() {
            if slow.write_all(&[*octet]).await.is_err() {
                break;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    let mut received = Vec::new();
    let (closed, ()) = tokio::join!(silent.read_to_end(&mut received), drip);
    closed.unwrap();
    assert!(!received.starts_with(b"HTTP/1.1 200 "));
    let took = start.elapsed();
    assert!(
        took >= HEADER_DEADLINE / 2 && took < LIMITS.deadline / 2,
        "{took:?}"
    );
}

#[tokio::test]
async fn serves_on_beside_a_thousand_connections_that_say_nothing() {
    raise_descriptor_limit();
    let server = Server::start().await.answer();
    let mut idle = Vec::new();
    for _ in 0..1_000 {
        idle.push(TcpStream::connect(server.address).await.unwrap());
    }
    let (head, _) = timeout(5 * HEADER_DEADLINE, server.get("/status"))
        .await
        .unwrap();
    assert!(head.starts_with("http/1.1 200 "), "{head}");
}

/// On a machine with nothing else to do each is answered at once. On a busy one a client may not
/// come round to asking before others need its place, and is sent away: then it asks again.
#[tokio::test]
async fn answers_a_thousand_requests_at_once() {
    raise_descriptor_limit();
    let server = std::sync::Arc::new(Server::start().await.answer());
    let mut clients = JoinSet::new();
    for _ in 0..1_000 {
        let server = server.clone();
        clients.spawn(async move {
            let request = "GET /status HTTP/1.1\r\nhost: x\r\n\r\n";
            let end = Instant::now() + Duration::from_secs(60);
            while Instant::now() < end {
                let response = server.exchange(request).await;
                if !response.is_empty() {
                    return response.to_ascii_lowercase();
                }
            }
            "sent away for a minute".to_owned()
        });
    }
    let mut answered = 0;
    while let Some(head) = clients.join_next().await {
        let head = head.unwrap();
        assert!(head.starts_with("http/1.1 200 "), "{head}");
        answered += 1;
    }
    assert_eq!(answered, 1_000);
}

/// Ends when every task that is ready now has been run. `yield_now` would wait for I/O too.
async fn next_turn() {
    let mut is_next = false;
    poll_fn(|context| {
        if is_next {
            return Poll::Ready(());
        }
        is_next = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[tokio::test]
async fn between_documents_others_have_their_turn() {
    const ASKERS: usize = 64;
    let (source, mut requests) = StatusSource::new();
    let mut askers = JoinSet::new();
    for _ in 0..ASKERS {
        let source = source.clone();
        askers.spawn(async move { source.get().await });
    }
    let made = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&made);
    let other = tokio::spawn(async move {
        let (mut most, mut before) = (0, 0);
        while before < ASKERS {
            next_turn().await;
            let now = counted.load(Ordering::Relaxed);
            most = most.max(now - before);
            before = now;
        }
        most
    });
    // As the agent's loop: what the runtime itself waits for.
    while made.load(Ordering::Relaxed) < ASKERS {
        let Some(StatusRequest::Status(reply)) = requests.recv().await else {
            panic!("somebody asks for the status");
        };
        made.fetch_add(1, Ordering::Relaxed);
        reply.send(Status::sample()).unwrap();
    }
    let most = other.await.unwrap();
    assert!(most <= 2, "{most} documents at one go");
    while let Some(asked) = askers.join_next().await {
        asked.unwrap().unwrap();
    }
}

#[tokio::test]
async fn stops_although_a_client_lingers() {
    let mut server = Server::start().await;
    let _lingering = TcpStream::connect(server.address).await.unwrap();
    assert!(server.get("/livez").await.0.starts_with("http/1.1 200 "));
    server.stop.take().unwrap().send(()).unwrap();
    let start = Instant::now();
    timeout(2 * SHUTDOWN_DEADLINE, &mut server.task)
        .await
        .unwrap()
        .unwrap();
    assert!(start.elapsed() >= SHUTDOWN_DEADLINE / 2);
    TcpStream::connect(server.address).await.unwrap_err();
}
