//! What `dns-lb top` knows, and what becomes of it by what is heard and what is typed. Pure: knows no
//! terminal, no socket and no clock.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::{
    list::{List, Name, Order},
    question::{Deed, Question},
    rates::Rates,
};
use crate::{
    admin::Change,
    api::{
        Timestamp,
        history::{BackendHistory, History},
        status::Status,
    },
    cli::palette::Tone,
};

/// Everything that can be seen.
pub(super) struct Model {
    /// Host and port of the agent.
    pub(super) authority: String,
    /// Why nothing can be changed, if so.
    pub(super) read_only: Option<&'static str>,
    /// The newest status, and when it was heard.
    pub(super) heard: Option<(Status, Timestamp)>,
    /// Why there is no newer one, if it is not of just now.
    pub(super) trouble: Option<String>,
    pub(super) rates: Rates,
    pub(super) list: List,
    /// The backend that has the screen.
    pub(super) open: Option<Open>,
    pub(super) prompt: Option<Prompt>,
    /// What was last said to the operator.
    pub(super) said: Option<(Tone, String)>,
}

/// One backend at close quarters.
pub(super) struct Open {
    pub(super) name: Name,
    /// What has been of it, or why that is not known; `None` until the agent has answered.
    pub(super) history: Option<Result<BackendHistory, String>>,
    /// The first probe that is on the screen.
    pub(super) offset: usize,
}

/// What keys are taken for, if not for commands.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Prompt {
    /// Words to filter by.
    Filter,
    /// A change.
    Change(Question),
}

/// What has been heard.
pub(super) enum Message {
    /// How things are, or why that is not known.
    Status(Result<Box<Status>, String>),
    /// The rates of the last minute.
    History(History),
    /// What has been of a backend, or why that is not known.
    Backend(Name, Result<BackendHistory, String>),
    /// What became of a change.
    Change(Question, Outcome),
}

/// What became of a change.
pub(super) enum Outcome {
    /// It holds; in words.
    Done(String),
    /// It would be made all the same if it were forced.
    Conflict(String),
    /// It was not made.
    Failed(String),
}

/// What is to be done outside.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Leave.
    Quit,
    /// Ask for this backend's history from now on.
    Open(Name),
    /// Ask for no backend's history any more.
    Close,
    /// Have the agent make a change.
    Change(Question, Change),
}

impl Model {
    /// Nothing known yet.
    pub(super) fn new(authority: String, read_only: Option<&'static str>) -> Self {
        Self {
            authority,
            read_only,
            heard: None,
            trouble: None,
            rates: Rates::default(),
            list: List::default(),
            open: None,
            prompt: None,
            said: None,
        }
    }

    /// Takes up what has been heard.
    pub(super) fn hear(&mut self, message: Message, now: Timestamp) {
        match message {
            Message::Status(Ok(status)) => {
                self.rates.take_up(&status);
                self.heard = Some((*status, now));
                self.trouble = None;
            }
            Message::Status(Err(trouble)) => self.trouble = Some(trouble),
            Message::History(history) => self.rates.seed(history),
            Message::Backend(name, history) => {
                if let Some(open) = &mut self.open
                    && open.name == name
                {
                    open.history = Some(history);
                }
            }
            Message::Change(question, outcome) => self.hear_of_change(question, outcome),
        }
    }

    fn hear_of_change(&mut self, question: Question, outcome: Outcome) {
        let said = match outcome {
            Outcome::Done(text) => (Tone::Good, text),
            // Who is typing already is not interrupted.
            Outcome::Conflict(refusal) if self.prompt.is_none() => {
                self.said = None;
                self.prompt = Some(Prompt::Change(Question {
                    refusal: Some(refusal),
                    ..question
                }));
                return;
            }
            Outcome::Conflict(text) | Outcome::Failed(text) => {
                let (verb, name) = (question.deed.verb(), &question.name);
                (Tone::Bad, format!("{verb} {name}: {text}"))
            }
        };
        self.said = Some(said);
    }

    /// Does what a key says, and gives what is left to be done outside.
    pub(super) fn press(&mut self, key: KeyEvent) -> Option<Effect> {
        if key.kind == KeyEventKind::Release {
            return None;
        }
        let with_control = key.modifiers.contains(KeyModifiers::CONTROL);
        if with_control || key.modifiers.contains(KeyModifiers::ALT) {
            // Such a key is no letter of a text, and commands nothing but to leave.
            return (with_control && key.code == KeyCode::Char('c')).then_some(Effect::Quit);
        }
        match self.prompt.take() {
            None => self.command(key.code),
            Some(Prompt::Filter) => {
                self.filter(key.code);
                None
            }
            Some(Prompt::Change(question)) => self.answer(question, key.code),
        }
    }

    fn command(&mut self, code: KeyCode) -> Option<Effect> {
        self.said = None;
        if let KeyCode::Char(c) = code
            && let Some((deed, _)) = Deed::ALL.into_iter().find(|(_, key)| *key == c)
        {
            self.ask(deed);
            return None;
        }
        match (code, &mut self.open) {
            (KeyCode::Char('q'), _) => return Some(Effect::Quit),
            (KeyCode::Esc | KeyCode::Backspace | KeyCode::Left, Some(_)) => {
                self.open = None;
                return Some(Effect::Close);
            }
            (code, Some(open)) => {
                let probes = match &open.history {
                    Some(Ok(history)) => history.probes.len(),
                    _ => 0,
                };
                let by = step(code, 10)?;
                let offset = open.offset.saturating_add_signed(by);
                open.offset = offset.min(probes.saturating_sub(1));
            }
            (KeyCode::Enter | KeyCode::Right, None) => {
                let name = self.list.chosen.clone()?;
                self.open = Some(Open {
                    name: name.clone(),
                    history: None,
                    offset: 0,
                });
                return Some(Effect::Open(name));
            }
            (KeyCode::Char('/'), None) => self.prompt = Some(Prompt::Filter),
            (KeyCode::Esc, None) => self.list.filter.clear(),
            (code, None) => {
                if let KeyCode::Char(c) = code
                    && let Some((order, ..)) = Order::ALL.into_iter().find(|(_, key, _)| *key == c)
                {
                    self.list.sort(order);
                } else {
                    let by = step(code, self.list.page())?;
                    let (status, _) = self.heard.as_ref()?;
                    self.list.go(status, by);
                }
            }
        }
        None
    }

    /// Asks whether this is to be done to the backend that has the screen, or else is chosen.
    fn ask(&mut self, deed: Deed) {
        let open = self.open.as_ref().map(|open| &open.name);
        if let Some(why) = self.read_only {
            self.said = Some((Tone::Caution, why.to_owned()));
        } else if let Some(name) = open.or(self.list.chosen.as_ref()) {
            self.prompt = Some(Prompt::Change(Question {
                deed,
                name: name.clone(),
                reason: String::new(),
                refusal: None,
            }));
        }
    }

    /// Takes a key for the filter, which holds as it is typed.
    fn filter(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => return,
            KeyCode::Esc => {
                self.list.filter.clear();
                return;
            }
            KeyCode::Backspace => drop(self.list.filter.pop()),
            KeyCode::Char(c) if !c.is_control() && self.list.filter.len() < 100 => {
                self.list.filter.push(c);
            }
            _ => {}
        }
        self.prompt = Some(Prompt::Filter);
    }

    /// Takes a key for the question whether a change is to be made.
    fn answer(&mut self, mut question: Question, code: KeyCode) -> Option<Effect> {
        let is_yes = match question.refusal {
            None => code == KeyCode::Enter,
            // Not the key that one may still be pressing.
            Some(_) => matches!(code, KeyCode::Char('y' | 'Y')),
        };
        if is_yes {
            let doing = format!(
                "{} {}: asking the agent",
                question.deed.verb(),
                question.name
            );
            self.said = Some((Tone::Plain, doing));
            let change = question.change();
            return Some(Effect::Change(question, change));
        }
        let is_no = match question.refusal {
            None => code == KeyCode::Esc,
            Some(_) => matches!(code, KeyCode::Esc | KeyCode::Char('n' | 'N')),
        };
        if is_no {
            let left = format!("{}: left as it is", question.name);
            self.said = Some((Tone::Plain, left));
            return None;
        }
        match code {
            _ if question.refusal.is_some() => {}
            KeyCode::Backspace => drop(question.reason.pop()),
            KeyCode::Char(c) => question.type_in(c),
            _ => {}
        }
        self.prompt = Some(Prompt::Change(question));
        None
    }
}

/// How far down a key goes.
fn step(code: KeyCode, page: isize) -> Option<isize> {
    Some(match code {
        KeyCode::Down | KeyCode::Char('j') => 1,
        KeyCode::Up | KeyCode::Char('k') => -1,
        KeyCode::PageDown | KeyCode::Char(' ') => page,
        KeyCode::PageUp => -page,
        KeyCode::Home | KeyCode::Char('g') => isize::MIN,
        KeyCode::End | KeyCode::Char('G') => isize::MAX,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
