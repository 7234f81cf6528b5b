//! What `dns-lb top` hears from the agent, and has it do. Tasks that only move data.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    sync::mpsc::UnboundedSender,
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use super::{
    list::Name,
    model::{Message, Outcome},
    question::Question,
};
use crate::{
    admin::Change,
    api::{
        Timestamp,
        admin::Changes,
        history::{BackendHistory, History},
    },
    cli::{
        admin::{self, Refused},
        client::{LIVE_DEADLINE, get, get_status, path_segment},
        one_line,
    },
};

/// From one question to the next: what the agent counts is a second's too.
const EVERY: Duration = Duration::from_secs(1);

/// The way to one agent. What is heard goes to `messages`.
pub(super) struct Feed {
    authority: Arc<str>,
    /// Where it takes commands, if it is to be given any.
    socket: Option<PathBuf>,
    messages: UnboundedSender<Message>,
    /// Asks for the history of the backend that has the screen.
    open: Option<JoinHandle<()>>,
}

impl Feed {
    /// Asks for the status, once a second, for as long as somebody listens.
    pub(super) fn start(
        authority: &str,
        socket: Option<PathBuf>,
        messages: UnboundedSender<Message>,
    ) -> Self {
        let authority: Arc<str> = authority.into();
        tokio::spawn(follow(Arc::clone(&authority), messages.clone()));
        Self {
            authority,
            socket,
            messages,
            open: None,
        }
    }

    /// Asks for this backend's history too.
    pub(super) fn open(&mut self, name: Name) {
        self.close();
        let (authority, messages) = (Arc::clone(&self.authority), self.messages.clone());
        self.open = Some(tokio::spawn(follow_backend(authority, name, messages)));
    }

    /// Asks for no backend's history any more.
    pub(super) fn close(&mut self) {
        if let Some(former) = self.open.take() {
            former.abort();
        }
    }

    /// Has the agent make a change.
    pub(super) fn change(&self, question: Question, change: Change) {
        let (socket, messages) = (self.socket.clone(), self.messages.clone());
        tokio::spawn(async move {
            let outcome = match socket {
                Some(socket) => make(socket, change).await,
                None => Outcome::Failed("there is no way to command this agent".to_owned()),
            };
            // Nobody listens to one who has left.
            let _ = messages.send(Message::Change(question, outcome));
        });
    }
}

async fn make(socket: PathBuf, change: Change) -> Outcome {
    let asked = admin::ask(&socket, "/change", &change).await;
    match asked.and_then(|document| admin::understand::<Changes>(&document)) {
        Ok(report) => Outcome::Done(admin::said(&report).trim_end().replace('\n', "; ")),
        Err(error) => match error.downcast_ref::<Refused>() {
            Some(refused) if refused.is_conflict && !change.force => {
                Outcome::Conflict(one_line(&error))
            }
            _ => Outcome::Failed(one_line(&error)),
        },
    }
}

async fn follow(authority: Arc<str>, messages: UnboundedSender<Message>) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Of which agent the history is known.
    let mut seeded: Option<Timestamp> = None;
    loop {
        ticks.tick().await;
        let message = match get_status(&authority, LIVE_DEADLINE).await {
            Ok((status, _)) => {
                if seeded != Some(status.started_at) {
                    // An older agent has none; then it begins with what is heard from now on.
                    let history = get::<History>(&authority, "/history", LIVE_DEADLINE).await;
                    seeded = Some(status.started_at);
                    if let Ok(history) = history
                        && messages.send(Message::History(history)).is_err()
                    {
                        return;
                    }
                }
                Message::Status(Ok(Box::new(status)))
            }
            Err(error) => {
                // What comes after a gap does not go on from before it.
                seeded = None;
                Message::Status(Err(one_line(&error)))
            }
        };
        if messages.send(message).is_err() {
            return;
        }
    }
}

async fn follow_backend(authority: Arc<str>, name: Name, messages: UnboundedSender<Message>) {
    let (service, backend) = (path_segment(&name.service), path_segment(&name.backend));
    let path = format!("/history/{service}/{backend}");
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let history = get::<BackendHistory>(&authority, &path, LIVE_DEADLINE).await;
        let history = history.map_err(|error| one_line(&error));
        if messages
            .send(Message::Backend(name.clone(), history))
            .is_err()
        {
            return;
        }
    }
}
