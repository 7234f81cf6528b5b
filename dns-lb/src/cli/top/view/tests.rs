//! What is on the screen.

use ratatui::{Terminal, backend::TestBackend, style::Color};

use super::{
    super::{list::Name, model::Message, model::Open, question::Question},
    *,
};
use crate::api::{
    history::{BackendHistory, History},
    status::LastProbe,
};

fn now() -> Timestamp {
    "2026-01-31T12:00:05Z".parse().unwrap()
}

fn model(status: Status) -> Model {
    let mut model = Model::new("127.0.0.1:8053".to_owned(), None);
    model.hear(Message::History(History::sample()), now());
    model.hear(Message::Status(Ok(Box::new(status))), now());
    model
}

/// Draws, and gives the screen.
fn terminal(model: &mut Model, width: u16, height: u16, palette: Palette) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let later = "2026-01-31T12:00:17Z".parse().unwrap();
    let now = if model.trouble.is_some() {
        later
    } else {
        now()
    };
    terminal
        .draw(|frame| draw(frame, model, now, palette))
        .unwrap();
    terminal
}

/// The screen as text, without blanks at the end of lines.
fn screen(model: &mut Model, width: u16, height: u16) -> String {
    let terminal = terminal(model, width, height, Palette::Colours);
    let buffer = terminal.backend().buffer();
    let rows = buffer.content.chunks(usize::from(width));
    rows.map(|row| {
        let row: String = row.iter().map(ratatui::buffer::Cell::symbol).collect();
        row.trim_end().to_owned() + "\n"
    })
    .collect()
}

#[test]
fn shows_services_and_backends_on_a_small_screen() {
    let mut model = model(Status::sample());
    let expected = "\
dns-lb 0.1.0 at 127.0.0.1:8053, up 2h0m, generation 7        1 of 2 up, 2001 q/s
 BACKEND ADMIN    HEALTH   SHARE    Q/S LAST MINUTE LAST PROBE             SINCE
resolvers, 1 of 2 up, 2001 q/s, hash, 192.168.0.200, port 53 udp
 dns1    enabled  up      100.0%   2001         ▅██ answered NOERROR, 21…   1h0m
 dns2    enabled  DOWN      0.0%      -          ▅▁ timeout                 1h0m

Enter details  / filter  d drain  x disable  e enable  ↑↓ PgUp PgDn  q quit
order: c configured▼  n name  r q/s  s share  h health  t rtt
";
    assert_eq!(screen(&mut model, 80, 8), expected);
    // What is chosen can be seen without colours, and what is wrong with them.
    let terminal = terminal(&mut model, 80, 8, Palette::Colours);
    let buffer = terminal.backend().buffer();
    assert!(buffer[(1, 3)].modifier.contains(Modifier::REVERSED));
    assert!(!buffer[(1, 4)].modifier.contains(Modifier::REVERSED));
    assert_eq!(
        (buffer[(18, 3)].fg, buffer[(18, 4)].fg),
        (Color::Green, Color::Red)
    );
    model.heard.as_mut().unwrap().0.services[0].failed_open = true;
    let shown = screen(&mut model, 80, 8);
    let expected = "resolvers: too few backends are up: steering as if all were\n";
    assert!(shown.contains(expected), "{shown}");
}

fn open(model: &mut Model) {
    let probe = |cause: &str, outcome: &str, rtt_us| LastProbe {
        at: "2026-01-31T12:00:00.100Z".parse().unwrap(),
        outcome: outcome.to_owned(),
        cause: cause.to_owned(),
        rtt_us,
    };
    let name = Name {
        service: "resolvers".to_owned(),
        backend: "dns2".to_owned(),
    };
    model.open = Some(Open {
        name: name.clone(),
        history: None,
        offset: 0,
    });
    let history = BackendHistory {
        service: name.service.clone(),
        backend: name.backend.clone(),
        packets_per_second: Vec::new(),
        probes: vec![
            probe("timeout", "timeout", None),
            probe("own_fault", "interface eth0 is down", None),
            probe("passed", "NOERROR", Some(213)),
        ],
    };
    model.hear(Message::Backend(name, Ok(history)), now());
}

#[test]
fn shows_one_backend_with_its_probes() {
    let mut model = model(Status::sample());
    open(&mut model);
    let shown = screen(&mut model, 80, 24);
    println!("{shown}");
    for text in [
        "resolvers/dns2, 192.168.0.202\n",
        "enabled, DOWN for 1h0m, share 0.0%, weight 1, 0 packets, 0B",
        "dns2 is enabled, weight not 2, by uid 0 (root), pid 42: new disk",
        "dns2 is down: timeout",
        "probes, the newest first",
        "4s ago  timeout",
        "4s ago  NOERROR, 213 us",
        "changes of health",
        "1h0m ago  up to DOWN: timeout",
        "10 probes, by cause",
        "4  timeout",
        "packets of resolvers, by ending",
        "1.2M  transmitted",
        "Esc back",
    ] {
        assert!(shown.contains(text), "{text}: {shown}");
    }
    model.open.as_mut().unwrap().offset = 2;
    let shown = screen(&mut model, 80, 24);
    assert!(shown.contains("probes, after 2 newer ones"), "{shown}");
    assert!(!shown.contains("4s ago  timeout"), "{shown}");

    // It leaves the configuration.
    let mut less = Status::sample();
    less.services[0].backends.pop();
    model.hear(Message::Status(Ok(Box::new(less))), now());
    let shown = screen(&mut model, 80, 24);
    assert!(
        shown.contains("resolvers/dns2 is no longer configured"),
        "{shown}"
    );
}

#[test]
fn a_question_names_the_backend_and_says_what_comes_of_it() {
    let mut model = model(Status::sample());
    let question = Question {
        deed: Deed::Drain,
        name: Name {
            service: "resolvers".to_owned(),
            backend: "dns1".to_owned(),
        },
        reason: "new disk".to_owned(),
        refusal: None,
    };
    model.prompt = Some(Prompt::Change(question.clone()));
    let shown = screen(&mut model, 80, 24);
    println!("{shown}");
    for text in [
        "Drain resolvers/dns1?",
        "No new queries for it; the TCP connections that it has stay.",
        "Reason, if any: new disk▏",
        "Enter: drain it    Esc: leave it as it is",
    ] {
        assert!(shown.contains(text), "{text}: {shown}");
    }
    model.prompt = Some(Prompt::Change(Question {
        refusal: Some(
            "resolvers would be left without a backend that takes queries; with --force it is done \
             all the same"
                .to_owned(),
        ),
        ..question
    }));
    let shown = screen(&mut model, 80, 24);
    println!("{shown}");
    for text in [
        "would be left without",
        "all the same",
        "y: drain it all the same (--force)",
    ] {
        assert!(shown.contains(text), "{text}: {shown}");
    }
}

#[test]
fn an_agent_that_is_gone_is_said_first_and_what_is_old_is_dim() {
    let mut model = model(Status::sample());
    model.hear(Message::Status(Err("connection refused".to_owned())), now());
    let terminal = terminal(&mut model, 80, 24, Palette::Colours);
    let buffer = terminal.backend().buffer();
    let shown = screen(&mut model, 80, 24);
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(
        lines[1],
        "NO ANSWER, last heard 12s ago: what follows is of 2026-01-31T12:00:05.000Z"
    );
    assert_eq!(lines[2], "connection refused");
    assert_eq!(buffer[(0, 1)].fg, Color::Red);
    // The rest: nothing in green, everything that is written dim.
    for row in 3..20 {
        for cell in (0..80).map(|column| &buffer[(column, row)]) {
            assert_eq!(cell.fg, Color::Reset, "{shown}");
            if cell.symbol() != " " {
                assert!(cell.modifier.contains(Modifier::DIM), "{row}: {shown}");
            }
        }
    }
    // Ages stand still.
    assert!(shown.contains("1h0m"), "{shown}");
}

#[test]
fn without_colours_there_are_none() {
    let mut model = model(Status::sample());
    for with_one in [false, true] {
        if with_one {
            open(&mut model);
        }
        let terminal = terminal(&mut model, 100, 30, Palette::Plain);
        for cell in &terminal.backend().buffer().content {
            assert_eq!((cell.fg, cell.bg), (Color::Reset, Color::Reset));
        }
    }
}

#[test]
fn no_text_of_others_reaches_the_terminal_as_it_is() {
    let hostile = "\u{1b}[2J\u{202e}\r\n\u{9b}31m".repeat(20);
    let mut status = Status::sample();
    status.version = hostile.clone();
    let service = &mut status.services[0];
    service.name = hostile.clone();
    service.failed_open = true;
    let backend = &mut service.backends[0];
    backend.name = hostile.clone();
    backend.identity = Some(hostile.clone());
    backend.reason = Some(hostile.clone());
    backend.last_probe.as_mut().unwrap().outcome = hostile.clone();
    backend.packets_per_second = Some(f64::MAX);
    backend.probes.causes.insert(hostile.clone(), u64::MAX);
    status.recent_transitions[0].service = hostile.clone();
    status.recent_transitions[0].backend = hostile.clone();
    status.recent_transitions[0].reason = Some(hostile.clone());
    let mut model = model(status);
    model.said = Some((Tone::Bad, hostile.clone()));
    model.list.filter = "\u{1b}".to_owned();
    let check = |model: &mut Model| {
        for (width, height) in [(1, 1), (20, 5), (80, 24), (300, 60)] {
            let shown = screen(model, width, height);
            for c in ['\u{1b}', '\u{202e}', '\r', '\u{9b}'] {
                assert!(!shown.contains(c), "{shown:?}");
            }
        }
    };
    check(&mut model);
    model.list.filter.clear();
    check(&mut model);
    let name = model.list.chosen.clone().unwrap();
    model.prompt = Some(Prompt::Change(Question {
        deed: Deed::Drain,
        name: name.clone(),
        reason: hostile.clone(),
        refusal: None,
    }));
    check(&mut model);
    model.prompt = None;
    model.open = Some(Open {
        name,
        history: Some(Err(hostile.clone())),
        offset: 0,
    });
    check(&mut model);
    model.trouble = Some(hostile);
    check(&mut model);
}

#[test]
fn a_thousand_backends_scroll() {
    let mut model = model(super::super::list::tests::thousand());
    let first = screen(&mut model, 120, 40);
    assert!(
        first.contains(" dns0 ") && first.contains("1000 of 1000 up"),
        "{first}"
    );
    assert!(!first.contains(" dns499 "));
    let status = model.heard.as_ref().unwrap().0.clone();
    model.list.go(&status, isize::MAX);
    let begun = std::time::Instant::now();
    let last = screen(&mut model, 120, 40);
    println!("{:?}\n{last}", begun.elapsed());
    assert!(
        last.contains(" dns499 ") && !last.contains(" dns0 "),
        "{last}"
    );
    model.list.filter = "b/dns77".to_owned();
    let few = screen(&mut model, 120, 40);
    assert!(few.contains("only what has: b/dns77"), "{few}");
    assert!(few.contains(" dns77 ") && !few.contains(" dns78 "), "{few}");
}
