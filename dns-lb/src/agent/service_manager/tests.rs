use std::path::Path;

use tempfile::TempDir;
use tokio::time::timeout;

use super::*;

/// A service manager's end.
struct Listener {
    socket: UnixDatagram,
    directory: TempDir,
}

impl Listener {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let socket = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self { socket, directory }
    }

    fn path(&self) -> Option<OsString> {
        let path: &Path = self.directory.path();
        Some(path.join("notify").into_os_string())
    }

    /// The next message; `None` if there is none.
    fn heard(&self) -> Option<String> {
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8(buffer[..length].to_vec()).unwrap())
    }
}

fn heard(listener: &Listener) -> String {
    listener.heard().expect("a message")
}

#[test]
fn says_each_state_in_a_message() {
    let listener = Listener::new();
    let mut manager = ServiceManager::at(listener.path(), None);
    manager.ready();
    assert_eq!(heard(&listener), "READY=1");
    manager.reloading();
    let reloading = heard(&listener);
    let time = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=");
    assert!(
        time.is_some_and(|time| time.parse::<u64>().is_ok()),
        "{reloading}"
    );
    manager.reloaded(None);
    assert_eq!(heard(&listener), "READY=1");
    manager.stopping();
    assert_eq!(heard(&listener), "STOPPING=1");
    assert_eq!(listener.heard(), None);
}

#[test]
fn a_refused_reload_stays_in_the_status_until_one_is_not() {
    let listener = Listener::new();
    let mut manager = ServiceManager::at(listener.path(), None);
    manager.reloading();
    heard(&listener);
    manager.reloaded(Some("line 5: no such policy\nline 7: no such key"));
    assert_eq!(
        heard(&listener),
        "READY=1\nSTATUS=not reloaded: line 5: no such policy"
    );
    manager.tell(Instant::now(), || "well".to_owned());
    assert_eq!(
        heard(&listener),
        "STATUS=well; not reloaded: line 5: no such policy"
    );
    manager.reloaded(None);
    assert_eq!(heard(&listener), "READY=1");
    manager.tell(Instant::now(), || "well".to_owned());
    assert_eq!(heard(&listener), "STATUS=well");
}

#[test]
fn the_status_is_said_when_it_reads_otherwise_and_once_a_second_at_most() {
    let listener = Listener::new();
    let mut manager = ServiceManager::at(listener.path(), None);
    let start = Instant::now() + Duration::from_secs(1);
    manager.tell(start, || "one".to_owned());
    assert_eq!(heard(&listener), "STATUS=one");
    manager.tell(start + STATUS_PERIOD / 2, || panic!("nobody asks so soon"));
    manager.tell(start + STATUS_PERIOD, || "one".to_owned());
    assert_eq!(listener.heard(), None);
    manager.tell(start + 2 * STATUS_PERIOD, || "two".to_owned());
    assert_eq!(heard(&listener), "STATUS=two");
}

#[test]
fn the_watchdog_hears_of_the_loop_at_half_its_time() {
    let listener = Listener::new();
    let watchdog = Duration::from_secs(10);
    let mut manager = ServiceManager::at(listener.path(), Some(watchdog));
    let start = Instant::now() + Duration::from_secs(1);
    let mut beats = 0;
    for seconds in 0..=60 {
        manager.tell(start + Duration::from_secs(seconds), || "well".to_owned());
        while let Some(message) = listener.heard() {
            beats += usize::from(message == "WATCHDOG=1");
        }
    }
    assert_eq!(beats, 60 / 5 + 1);
}

#[test]
fn a_manager_that_does_not_read_is_told_later_and_in_order() {
    let listener = Listener::new();
    let mut manager = ServiceManager::at(listener.path(), Some(Duration::from_secs(1)));
    let mut sent = 0;
    while manager.owed.is_empty() {
        manager.ready();
        sent += 1;
    }
    manager.reloading();
    let start = Instant::now() + Duration::from_secs(1);
    for seconds in 0..1000 {
        let status = || seconds.to_string();
        manager.tell(start + Duration::from_secs(seconds), status);
    }
    manager.reloaded(Some("no"));
    let most = 5;
    assert!(manager.owed.len() <= most, "{:?}", manager.owed);

    let mut messages = Vec::new();
    while let Some(message) = listener.heard() {
        messages.push(message);
        manager.pay();
    }
    let late: Vec<&str> = messages[sent..].iter().map(|text| kind(text)).collect();
    assert_eq!(late, ["RELOADING", "WATCHDOG", "STATUS", "READY"]);
    assert_eq!(messages[sent + 2], "STATUS=999");
}

#[test]
fn a_name_in_the_abstract_namespace_is_one() {
    let name = format!("dns-lb-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let socket = UnixDatagram::bind_addr(&address).unwrap();
    let mut manager = ServiceManager::at(Some(format!("@{name}").into()), None);
    manager.ready();
    let mut buffer = [0; 64];
    let length = socket.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"READY=1");
}

#[tokio::test(start_paused = true)]
async fn without_a_manager_nothing_happens() {
    for address in [None, Some("/nowhere/notify".into())] {
        let mut manager = ServiceManager::at(address, Some(Duration::from_secs(1)));
        manager.ready();
        manager.reloading();
        manager.reloaded(Some("no"));
        assert!(manager.owed.is_empty());
        let due = timeout(Duration::from_secs(3600), manager.due());
        assert!(due.await.is_err(), "there is nobody to tell");
    }
}

#[tokio::test(start_paused = true)]
async fn it_is_due_for_whichever_comes_first() {
    let listener = Listener::new();
    let mut manager = ServiceManager::at(listener.path(), Some(Duration::from_millis(500)));
    manager.due().await;
    let now = Instant::now();
    manager.tell(now, String::new);
    manager.due().await;
    assert_eq!(now.elapsed().as_millis(), 250);
}

#[test]
fn the_summary_counts() {
    let farm = |services: &[&[Health]]| summary(services.iter().map(|it| it.iter().copied()), 7);
    let (up, down) = (Health::Up, Health::Down);
    assert_eq!(
        farm(&[&[up, down, up]]),
        "2 of 3 backends up in 1 service, generation 7"
    );
    assert_eq!(
        farm(&[&[Health::Unknown], &[]]),
        "0 of 1 backend up in 2 services, generation 7"
    );
}
