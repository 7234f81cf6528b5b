//! The terminal while a verb has all of it, and what ends such a verb.
//!
//! It is given back as it was, however the verb ends: by itself, by an error, a panic, or a signal
//! that can be caught.

use std::{
    env,
    io::{self, IsTerminal as _},
    panic,
    sync::Once,
    thread,
};

use anyhow::Context as _;
use ratatui::crossterm::{
    cursor::{Hide, Show},
    event::{self, Event},
    execute,
    terminal::{
        DisableLineWrap, EnableLineWrap, EnterAlternateScreen, LeaveAlternateScreen,
        disable_raw_mode, enable_raw_mode,
    },
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

/// Whether there is a terminal to draw on and to take keys from.
pub(super) fn is_there() -> bool {
    let has_a_cursor = env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb");
    io::stdin().is_terminal() && io::stdout().is_terminal() && has_a_cursor
}

/// A hold on the terminal: keys come as they are pressed and are not echoed, and what was on the
/// screen is kept for afterwards.
pub(super) struct Screen(());

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// It is none, or has gone away.
    pub(super) fn take() -> anyhow::Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let former = panic::take_hook();
            panic::set_hook(Box::new(move |panic| {
                // Or nobody could read what it says.
                give_back();
                former(panic);
            }));
        });
        let screen = Self(());
        enable_raw_mode().context("cannot take the terminal")?;
        execute!(io::stdout(), EnterAlternateScreen, DisableLineWrap, Hide)
            .context("cannot take the screen")?;
        Ok(screen)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Does nothing to a terminal that has not been taken. One that has gone away needs no mending.
fn give_back() {
    let _ = execute!(io::stdout(), EnableLineWrap, Show, LeaveAlternateScreen);
    let _ = disable_raw_mode();
}

/// Keys and changes of size, from now on. The channel closes when the terminal goes away.
pub(super) fn events() -> mpsc::UnboundedReceiver<io::Result<Event>> {
    let (sender, receiver) = mpsc::unbounded_channel();
    // Waits in the kernel, and ends with the process.
    thread::spawn(move || {
        loop {
            let event = event::read();
            let last = event.is_err();
            if sender.send(event).is_err() || last {
                break;
            }
        }
    });
    receiver
}

/// Ends when somebody asks the process to: SIGINT, SIGTERM or SIGHUP. They do nothing else from this
/// call on.
///
/// # Errors
/// The kernel refuses.
pub(super) fn asked_to_end() -> anyhow::Result<impl Future<Output = ()>> {
    let on = |kind| signal(kind).context("cannot wait for signals");
    let mut interrupt = on(SignalKind::interrupt())?;
    let mut terminate = on(SignalKind::terminate())?;
    let mut hang_up = on(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hang_up.recv() => {}
        }
    })
}
