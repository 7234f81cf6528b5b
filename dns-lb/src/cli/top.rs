//! `dns-lb top`: the running agent, live, with the whole screen.
//!
//! `model` knows and decides, `view` draws, `feed` asks the agent; here they are tied together.

mod feed;
mod list;
mod model;
mod question;
mod rates;
mod view;

use std::{io, mem::ManuallyDrop, path::PathBuf, pin::pin, process::ExitCode, time::Duration};

use anyhow::{Context as _, bail};
use clap::Args;
use ratatui::{Terminal, backend::CrosstermBackend, crossterm::event::Event};
use tokio::{sync::mpsc, time::interval};

use self::{
    feed::Feed,
    model::{Effect, Model},
};
use super::{
    admin::Agent,
    client,
    palette::Palette,
    runtime,
    terminal::{self, Screen},
};
use crate::api::Timestamp;

/// How often what is shown grows older by itself.
const TICK: Duration = Duration::from_secs(1);

/// Why an agent at a URL is only looked at.
const ONLY_READ: &str = "nothing can be changed by --url: the agent takes commands by its Unix socket \
                         alone, on its own host";

/// Watch the running agent, and drain, disable or enable its backends.
///
/// Shows services and backends with their queries a second in the last minute. Enter shows one backend:
/// its probes, and how the packets of its service end. Keys are said at the bottom. Nothing is
/// changed before a question is answered that names the backend.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  dns-lb top
  dns-lb top --url http://192.0.2.10:8053    another host's agent, to look at
  NO_COLOR=1 dns-lb top                      without colours
  dns-lb status --watch                      the same facts without a terminal")]
pub(super) struct Arguments {
    #[command(flatten)]
    agent: Agent,

    /// Look at the agent at this address instead; needs no configuration, and changes nothing.
    #[arg(long, value_name = "URL", value_parser = client::authority, conflicts_with = "socket")]
    url: Option<String>,
}

pub(super) fn execute(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    if !terminal::is_there() {
        bail!("dns-lb top needs a terminal: without one, try dns-lb status --watch");
    }
    let authority = client::find(arguments.url.as_ref(), arguments.agent.config())?;
    let (socket, read_only) = match &arguments.url {
        Some(_) => (None, Some(ONLY_READ)),
        None => (Some(arguments.agent.find()?), None),
    };
    let runtime = runtime()?;
    let done = runtime.block_on(run(Model::new(authority, read_only), socket));
    // A look-up of a name may still be under way.
    runtime.shutdown_background();
    done.map(|()| ExitCode::SUCCESS)
}

/// Until the operator leaves, or a signal says so.
async fn run(mut model: Model, socket: Option<PathBuf>) -> anyhow::Result<()> {
    let palette = Palette::of(&io::stdout());
    let mut ended = pin!(terminal::asked_to_end()?);
    let _screen = Screen::take()?;
    let terminal = Terminal::new(CrosstermBackend::new(io::stdout())).context("cannot draw")?;
    // Its drop panics where it cannot show the cursor, as on a terminal that has gone away. `Screen`
    // does that.
    let mut terminal = ManuallyDrop::new(terminal);
    let mut events = terminal::events();
    let (sender, mut messages) = mpsc::unbounded_channel();
    let mut feed = Feed::start(&model.authority, socket, sender);
    let mut ticks = interval(TICK);
    loop {
        let draw = |frame: &mut ratatui::Frame<'_>| {
            view::draw(frame, &mut model, Timestamp::now(), palette);
        };
        terminal.draw(draw).context("cannot draw")?;
        let effect = tokio::select! {
            () = &mut ended => return Ok(()),
            event = events.recv() => match event {
                Some(Ok(Event::Key(key))) => model.press(key),
                Some(Ok(_)) => None,
                Some(Err(error)) => return Err(error).context("the terminal has gone away"),
                None => return Ok(()),
            },
            Some(message) = messages.recv() => {
                model.hear(message, Timestamp::now());
                None
            }
            _ = ticks.tick() => None,
        };
        match effect {
            None => {}
            Some(Effect::Quit) => return Ok(()),
            Some(Effect::Open(name)) => feed.open(name),
            Some(Effect::Close) => feed.close(),
            Some(Effect::Change(question, change)) => feed.change(question, change),
        }
    }
}
