//! What keys and messages do.

use super::*;
use crate::{admin::Action, api::status::Status};

fn now() -> Timestamp {
    "2026-01-31T12:00:05Z".parse().unwrap()
}

/// A model that has heard of the sample: `resolvers/dns1` and `resolvers/dns2`.
fn model() -> Model {
    let mut model = Model::new("127.0.0.1:8053".to_owned(), None);
    model.hear(Message::Status(Ok(Box::new(Status::sample()))), now());
    model.list.settle(&Status::sample(), 20);
    model
}

fn press(model: &mut Model, code: KeyCode) -> Option<Effect> {
    model.press(KeyEvent::new(code, KeyModifiers::NONE))
}

fn type_in(model: &mut Model, text: &str) {
    for c in text.chars() {
        assert_eq!(press(model, KeyCode::Char(c)), None, "{c}");
    }
}

fn dns(number: u8) -> Name {
    Name {
        service: "resolvers".to_owned(),
        backend: format!("dns{number}"),
    }
}

fn said(model: &Model) -> (Tone, &str) {
    let (tone, text) = model.said.as_ref().expect("something is said");
    (*tone, text)
}

#[test]
fn a_change_is_made_only_after_a_question_that_names_the_backend() {
    let mut model = model();
    for (key, action) in [
        ('d', Action::Drain),
        ('x', Action::Disable),
        ('e', Action::Enable),
    ] {
        assert_eq!(press(&mut model, KeyCode::Char(key)), None);
        let Some(Prompt::Change(question)) = &model.prompt else {
            panic!("no question");
        };
        assert_eq!(question.name, dns(1));
        // What is typed is the reason, also letters that are keys elsewhere.
        type_in(&mut model, "new diskq");
        press(&mut model, KeyCode::Backspace);
        let Some(Effect::Change(_, change)) = press(&mut model, KeyCode::Enter) else {
            panic!("no change");
        };
        let verb = Change {
            selection: change.selection.clone(),
            action,
            reason: Some("new disk".parse().unwrap()),
            force: false,
        };
        assert_eq!(change, verb);
        assert_eq!(change.selection[0].to_string(), "resolvers/dns1");
        assert_eq!(model.prompt, None);
    }
    // No reason, and second thoughts.
    press(&mut model, KeyCode::Char('d'));
    let Some(Effect::Change(_, change)) = press(&mut model, KeyCode::Enter) else {
        panic!("no change");
    };
    assert_eq!(change.reason, None);
    press(&mut model, KeyCode::Char('d'));
    assert_eq!(press(&mut model, KeyCode::Esc), None);
    assert_eq!(said(&model), (Tone::Plain, "resolvers/dns1: left as it is"));
}

#[test]
fn a_reason_is_one_that_the_agent_takes() {
    let mut model = model();
    press(&mut model, KeyCode::Char('d'));
    type_in(&mut model, &"é".repeat(300));
    assert_eq!(press(&mut model, KeyCode::Char('\u{1b}')), None);
    let Some(Effect::Change(_, change)) = press(&mut model, KeyCode::Enter) else {
        panic!("no change");
    };
    let reason = change.reason.expect("a reason");
    assert_eq!(reason.as_str(), "é".repeat(200));
}

#[test]
fn what_is_asked_about_stays_while_the_list_moves() {
    let mut model = model();
    press(&mut model, KeyCode::Down);
    press(&mut model, KeyCode::Char('d'));
    let mut fewer = Status::sample();
    fewer.services[0].backends.swap(0, 1);
    model.hear(Message::Status(Ok(Box::new(fewer))), now());
    let Some(Effect::Change(question, change)) = press(&mut model, KeyCode::Enter) else {
        panic!("no change");
    };
    assert_eq!(question.name, dns(2));
    assert_eq!(change.selection[0].to_string(), "resolvers/dns2");
}

#[test]
fn what_would_leave_nobody_is_asked_again_and_forced_by_another_key() {
    let mut model = model();
    press(&mut model, KeyCode::Char('d'));
    type_in(&mut model, "why");
    let Some(Effect::Change(question, _)) = press(&mut model, KeyCode::Enter) else {
        panic!("no change");
    };
    let refusal = "resolvers would be left without; with --force".to_owned();
    model.hear(
        Message::Change(question.clone(), Outcome::Conflict(refusal.clone())),
        now(),
    );
    for harmless in [KeyCode::Enter, KeyCode::Char('d'), KeyCode::Down] {
        assert_eq!(press(&mut model, harmless), None);
        assert!(matches!(&model.prompt, Some(Prompt::Change(question))
            if question.refusal.as_ref() == Some(&refusal)));
    }
    let Some(Effect::Change(_, change)) = press(&mut model, KeyCode::Char('y')) else {
        panic!("no change");
    };
    assert!(change.force);
    assert_eq!(change.reason.unwrap().as_str(), "why");

    // Somebody who asks something else meanwhile is not interrupted.
    press(&mut model, KeyCode::Char('x'));
    model.hear(
        Message::Change(question, Outcome::Conflict(refusal.clone())),
        now(),
    );
    assert!(matches!(&model.prompt, Some(Prompt::Change(question))
        if question.deed == Deed::Disable && question.refusal.is_none()));
    let expected = format!("drain resolvers/dns1: {refusal}");
    assert_eq!(said(&model), (Tone::Bad, expected.as_str()));
}

#[test]
fn an_agent_that_is_only_looked_at_is_not_changed() {
    let mut model = Model::new("192.0.2.1:8053".to_owned(), Some("not by --url"));
    model.hear(Message::Status(Ok(Box::new(Status::sample()))), now());
    model.list.settle(&Status::sample(), 20);
    for key in ['d', 'x', 'e'] {
        assert_eq!(press(&mut model, KeyCode::Char(key)), None);
        assert_eq!(model.prompt, None);
        assert_eq!(said(&model), (Tone::Caution, "not by --url"));
    }
}

#[test]
fn one_backend_has_the_screen_until_one_goes_back() {
    let mut model = model();
    press(&mut model, KeyCode::Char('j'));
    let opened = press(&mut model, KeyCode::Enter);
    assert_eq!(opened, Some(Effect::Open(dns(2))));
    let probe = Status::sample().services[0].backends[0].last_probe.clone();
    let history = BackendHistory {
        service: "resolvers".to_owned(),
        backend: "dns2".to_owned(),
        packets_per_second: Vec::new(),
        probes: vec![probe.unwrap(); 30],
    };
    // The answer to what was asked for another comes late.
    let late = Message::Backend(dns(1), Err("late".to_owned()));
    model.hear(late, now());
    assert!(model.open.as_ref().unwrap().history.is_none());
    model.hear(Message::Backend(dns(2), Ok(history)), now());
    for (key, expected) in [
        (KeyCode::Down, 1),
        (KeyCode::PageDown, 11),
        (KeyCode::End, 29),
        (KeyCode::Down, 29),
        (KeyCode::Home, 0),
        (KeyCode::Up, 0),
    ] {
        press(&mut model, key);
        assert_eq!(model.open.as_ref().unwrap().offset, expected, "{key:?}");
    }
    // Changes are of what is shown.
    press(&mut model, KeyCode::Char('d'));
    assert!(matches!(&model.prompt, Some(Prompt::Change(question)) if question.name == dns(2)));
    press(&mut model, KeyCode::Esc);
    assert_eq!(press(&mut model, KeyCode::Esc), Some(Effect::Close));
    assert!(model.open.is_none());
}

#[test]
fn a_filter_holds_as_it_is_typed() {
    let mut model = model();
    press(&mut model, KeyCode::Char('/'));
    type_in(&mut model, "dq\u{7}own");
    assert_eq!(model.list.filter, "dqown");
    for _ in 0..4 {
        press(&mut model, KeyCode::Backspace);
    }
    type_in(&mut model, "own");
    press(&mut model, KeyCode::Enter);
    assert_eq!((model.list.filter.as_str(), &model.prompt), ("down", &None));
    model.list.settle(&Status::sample(), 20);
    assert_eq!(model.list.chosen, Some(dns(2)));
    press(&mut model, KeyCode::Esc);
    assert_eq!(model.list.filter, "");
    assert_eq!(model.list.chosen, Some(dns(2)));
}

#[test]
fn keys_that_are_no_commands_do_nothing_and_two_leave() {
    let mut model = model();
    for code in [KeyCode::Tab, KeyCode::F(5), KeyCode::Char('ß')] {
        assert_eq!(press(&mut model, code), None);
    }
    let with = |modifiers, c| KeyEvent::new(KeyCode::Char(c), modifiers);
    assert_eq!(model.press(with(KeyModifiers::CONTROL, 'd')), None);
    assert_eq!(model.press(with(KeyModifiers::ALT, 'q')), None);
    assert_eq!(model.prompt, None);
    assert_eq!(press(&mut model, KeyCode::Char('q')), Some(Effect::Quit));
    // Also out of a question.
    press(&mut model, KeyCode::Char('d'));
    let quit = model.press(with(KeyModifiers::CONTROL, 'c'));
    assert_eq!(quit, Some(Effect::Quit));
}

#[test]
fn orders_have_keys_and_turn_round() {
    let mut model = model();
    for (order, key, _) in Order::ALL.into_iter().skip(1) {
        press(&mut model, KeyCode::Char(key));
        assert_eq!((model.list.order, model.list.is_reversed), (order, false));
        press(&mut model, KeyCode::Char(key));
        assert_eq!((model.list.order, model.list.is_reversed), (order, true));
    }
}

#[test]
fn an_agent_that_is_silent_is_known_to_be() {
    let mut model = model();
    model.hear(Message::Status(Err("broke off".to_owned())), now());
    assert_eq!(model.trouble.as_deref(), Some("broke off"));
    assert!(model.heard.is_some());
    model.hear(Message::Status(Ok(Box::new(Status::sample()))), now());
    assert_eq!(model.trouble, None);
}

#[test]
fn nothing_known_is_nothing_to_command() {
    let mut model = Model::new("127.0.0.1:8053".to_owned(), None);
    for code in [
        KeyCode::Enter,
        KeyCode::Char('d'),
        KeyCode::Down,
        KeyCode::End,
        KeyCode::Char('h'),
    ] {
        assert_eq!(press(&mut model, code), None);
        assert!(model.prompt.is_none() && model.open.is_none());
    }
}
