//! The page with documents that are made: hostile names, a thousand servers, counters that go back, the
//! keyboard, and what a screen reader is told.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use dns_lb::api::{
    server::{StatusRequest, StatusSource, serve},
    status::Status,
};
use dns_lb_tests::Node;
use serde_json::json;
use tokio::{net::TcpListener, sync::oneshot};

use super::{
    PATIENCE, Page,
    made_status::{HOSTILE, at, backend_history, history, status},
};
use crate::stage::Hold;

/// The server of the agent, on a host of its own, with documents of so many services.
struct Server {
    node: Node,
    /// Seconds that the documents' counters have counted.
    tick: Arc<AtomicU64>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
    _hold: Hold,
}

impl Server {
    fn start(hold: Hold, services: usize) -> Self {
        let node = Node::new("page").expect("a host");
        let tick = Arc::new(AtomicU64::new(1_000));
        let (stop, stopped) = oneshot::channel::<()>();
        let ticks = tick.clone();
        let thread = node.thread(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:8053").await.expect("a port");
                let (source, mut requests) = StatusSource::new();
                let answer = async {
                    let first = status(services);
                    while let Some(request) = requests.recv().await {
                        answer(request, &first, &ticks);
                    }
                };
                let stopped = async { stopped.await.unwrap_or_default() };
                tokio::select! {
                    () = serve(listener, source, stopped) => {}
                    () = answer => {}
                }
            });
        });
        Self {
            node,
            tick,
            stop: Some(stop),
            thread: Some(thread),
            _hold: hold,
        }
    }
}

fn answer(request: StatusRequest, first: &Status, ticks: &AtomicU64) {
    // One who no longer waits gets nothing.
    match request {
        StatusRequest::Status(reply) => {
            let tick = ticks.fetch_add(1, Ordering::Relaxed);
            let _ = reply.send(at(first, tick));
        }
        StatusRequest::History(reply) => {
            let _ = reply.send(history(first));
        }
        StatusRequest::Backend {
            service,
            backend,
            reply,
        } => {
            let _ = reply.send(Some(backend_history(service, backend)));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        // A panic there has been seen as a page that is not live.
        let _ = self.thread.take().map(thread::JoinHandle::join);
    }
}

#[test]
fn a_thousand_backends_are_no_burden_and_names_do_no_harm() {
    let server = Server::start(Hold::alone(), 100);
    let mut page = Page::open(&server.node);
    let headline = page.text("text('headline')");
    assert_eq!(
        headline,
        "Service service2 has failed open, 10 of 1,000 backends down"
    );
    assert!(
        page.text("text('problems')")
            .ends_with("and 3 more, first in the table of backends")
    );
    assert_eq!(page.text("text('shown')"), "100 of 1,000");

    // What is markup is shown, not read.
    let shown = page.text("[...document.querySelectorAll('#backends .why')].find((why) => why.textContent).textContent");
    assert_eq!(shown, HOSTILE);
    page.0
        .evaluate("document.querySelector('#backends .toggle').click()")
        .expect("a click");
    page.wait(
        PATIENCE,
        "document.querySelectorAll('.probes .failed').length > 20",
    );
    assert!(page.holds("document.querySelector('main img, main script, [onerror]') === null"));

    // The filter finds what is not in the table yet.
    page.0.press("/").expect("a key");
    for letter in "service99/dns3".chars() {
        page.0.press(&letter.to_string()).expect("a key");
    }
    assert_eq!(page.text("first('#backends .toggle')"), "service99/dns3");
    assert_eq!(page.text("text('shown')"), "1 of 1,000");
    page.0.press("Escape").expect("a key");
    page.wait(PATIENCE, "text('shown').endsWith(' of 1,000')");
    page.look("thousand");

    let cost = cost_of_a_tick(&mut page);
    page.0
        .evaluate("document.getElementById('more-backends').click()")
        .expect("a click");
    page.wait(PATIENCE, "text('shown') === '1,000'");
    let cost_of_all = cost_of_a_tick(&mut page);
    println!("a tick with 1,000 backends: {cost:?} with 100 rows, {cost_of_all:?} with all");
    // 20 to 50 ms on a machine with nothing else to do; a busy one must not break this.
    assert!(cost_of_all < Duration::from_millis(500), "{cost_of_all:?}");

    // What was there before the page is no news, nor is it said again each second.
    let spoken = page.text("text('announcement')");
    assert!(!spoken.contains("down"), "{spoken}");
    // Nothing was loaded from elsewhere, or refused.
    page.assert_content();
}

/// Processor time of the page's main thread for each document that comes.
fn cost_of_a_tick(page: &mut Page) -> Duration {
    page.0
        .evaluate("globalThis.asked = performance.getEntriesByType('resource').length")
        .expect("a number");
    let before = page.0.spent().expect("a time");
    thread::sleep(Duration::from_secs(8));
    let after = page.0.spent().expect("a time");
    let ticks = page
        .0
        .evaluate("performance.getEntriesByType('resource').length - asked");
    let ticks = ticks.expect("a number").as_u64().expect("a number");
    // An open panel asks too.
    (after - before) / u32::try_from(ticks / 2).expect("a few").max(1)
}

#[test]
fn the_keyboard_reaches_everything_and_a_screen_reader_hears_what_it_is() {
    let server = Server::start(Hold::shared(), 1);
    let mut page = Page::open(&server.node);
    let mut reached = Vec::new();
    for _ in 0..30 {
        page.0.press("Tab").expect("a key");
        let focus = page.text("focus()");
        assert!(
            !focus.starts_with("unseen"),
            "{focus} does not show that it has the focus"
        );
        reached.push(focus);
    }
    assert_eq!(reached[0], "Skip to the backends");
    let columns = [
        "Backend",
        "State",
        "Share",
        "Packets/s",
        "Last probe",
        "Weight",
        "Since",
        "Address",
    ];
    let others = [
        "Services",
        "service0",
        "filter",
        "service0/dns0",
        "service0/dns9",
    ];
    for wanted in columns.iter().chain(&others) {
        assert!(
            reached.iter().any(|name| name.starts_with(wanted)),
            "{wanted}: {reached:?}"
        );
    }

    // Sorting, and opening a row, by keys alone.
    let sorted = "document.querySelector('#columns [aria-sort]').innerText.trim()";
    page.0
        .evaluate("document.querySelector('[data-column=name] button').focus()")
        .expect("a focus");
    page.0.press("Enter").expect("a key");
    assert!(page.text(sorted).starts_with("Backend"));
    page.0.press("Enter").expect("a key");
    assert_eq!(page.text("first('#backends .toggle')"), "service0/dns9");
    page.0
        .evaluate("document.querySelector('#backends .toggle').focus()")
        .expect("a focus");
    page.0.press("Enter").expect("a key");
    page.wait(
        PATIENCE,
        "document.querySelectorAll('.probes path').length === 64",
    );
    assert_eq!(page.text("focus()"), "service0/dns9");

    let told = page.0.accessible().expect("the tree");
    let is_told = |role: &str, name: &str| {
        told.iter()
            .any(|(is, of)| is == role && of.starts_with(name))
    };
    for (role, name) in [
        ("banner", ""),
        ("main", ""),
        ("navigation", "On this page"),
        ("region", "All 10 backends are up"),
        ("table", "Services"),
        ("table", "Backends"),
        ("columnheader", "Share"),
        ("rowheader", "service0/dns9"),
        ("searchbox", "Filter"),
        ("heading", "Recent transitions"),
        ("image", "64 probes, 42 did not pass"),
        ("status", ""),
    ] {
        assert!(is_told(role, name), "no {role} {name}: {told:#?}");
    }
    // As cards, too.
    page.0
        .show_as(360, dns_lb_tests::Scheme::Light)
        .expect("a window");
    let told = page.0.accessible().expect("the tree");
    let cells = |role: &str| told.iter().filter(|(is, _)| is == role).count();
    assert!(cells("rowheader") >= 11 && cells("cell") >= 80, "{told:#?}");
    // The probes are a table there too, with each head above its column and nothing before them.
    assert_eq!(
        page.text("text('backends').match(/Began.*Took/)[0]"),
        "BeganOutcomeTook"
    );
    let placed = "JSON.stringify([...document.querySelectorAll('.panel tr')].slice(0, 2) \
                  .map((row) => [...row.children].map((cell) => cell.offsetLeft)))";
    let placed: [Vec<u32>; 2] = serde_json::from_str(&page.text(placed)).expect("places");
    assert_eq!(placed[0], placed[1]);
    let before = "getComputedStyle(document.querySelector('.panel thead tr'), '::before').content";
    assert_eq!(page.text(before), "none");
    page.assert_content();
}

#[test]
fn what_is_in_doubt_is_not_well() {
    let server = Server::start(Hold::shared(), 1);
    let mut page = Page::open(&server.node);
    page.wait(PATIENCE, "document.title.includes('all well')");
    let change = "const asks = fetch; \
                  globalThis.fetch = async (path, how) => { \
                    const answer = await asks(path, how); \
                    if (path !== 'status') return answer; \
                    const status = await answer.json(); \
                    status.services[0].backends[3].unresolved = 'nobody has the address'; \
                    return new Response(JSON.stringify(status), { headers: answer.headers }); \
                  }; 0";
    page.0.evaluate(change).expect("a change");
    page.wait(PATIENCE, "text('headline') === '1 in doubt'");
    let title = page.text("document.title");
    assert!(title.starts_with("1 in doubt"), "{title}");
    page.assert_content();
}

#[test]
fn counters_that_go_back_are_no_rates() {
    let server = Server::start(Hold::shared(), 1);
    let mut page = Page::open(&server.node);
    let steered = "[...document.querySelectorAll('#endings tr')].map(plain)[0]";
    page.wait(PATIENCE, &format!("!{steered}.endsWith('–')"));
    // Every document is 100,000 packets ahead of the last; this one is behind.
    let watch =
        "globalThis.seen = []; setInterval(() => seen.push(document.body.innerText), 50); 0";
    page.0.evaluate(watch).expect("a watch");
    server.tick.store(1, Ordering::Relaxed);
    page.wait(PATIENCE, &format!("{steered}.endsWith(' –')"));
    page.wait(PATIENCE, &format!("!{steered}.endsWith('–')"));
    let negative = page.0.evaluate("seen.filter((text) => /[-−]\\d|NaN|Infinity|undefined|null/.test(text.replace(/\\d{4}-\\d\\d-\\d\\d/g, ''))).length");
    assert_eq!(negative.expect("a number"), json!(0));
}

#[test]
fn a_tab_that_nobody_sees_asks_nothing_and_claims_nothing() {
    let server = Server::start(Hold::shared(), 1);
    let mut page = Page::open(&server.node);
    let hide = "Object.defineProperty(document, 'hidden', { configurable: true, value: true }); \
                document.dispatchEvent(new Event('visibilitychange'))";
    page.0.evaluate(hide).expect("an event");
    assert!(page.text("document.title").contains("not watching"));
    // What was on its way when it was hidden may still come.
    thread::sleep(Duration::from_secs(1));
    let asked = server.tick.load(Ordering::Relaxed);
    thread::sleep(Duration::from_secs(4));
    assert_eq!(server.tick.load(Ordering::Relaxed), asked);
    assert!(page.text("document.title").contains("not watching"));

    let show = "delete document.hidden; \
                document.dispatchEvent(new Event('visibilitychange')); \
                document.body.dataset.state + ' ' + text('stale')";
    let at_once = page.text(show);
    assert!(
        at_once.starts_with("stale No answer from the agent for "),
        "{at_once}"
    );
    assert!(at_once.contains("this tab was hidden"), "{at_once}");
    page.wait(PATIENCE, "document.body.dataset.state === 'live'");
    assert_eq!(page.text("text('announcement')"), "");
    page.assert_content();
}
