//! A program on a terminal: what is typed, what is on the screen, and whether the terminal is afterwards
//! as it was.

mod screen;

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::process::CommandExt as _,
    },
    process::{Child, Command, ExitStatus},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use nix::{
    pty::{Winsize, openpty},
    sys::{
        signal::{Signal, kill},
        termios::{Termios, tcgetattr},
    },
    unistd::{Pid, setsid},
};

use self::screen::Screen;
use crate::{node::Node, process::die_with_parent};

/// From one look at the screen to the next.
const LOOK: Duration = Duration::from_millis(20);

/// A terminal and the program on it, which is killed with it.
pub struct Terminal {
    keys: File,
    /// The program's end.
    line: OwnedFd,
    before: Termios,
    child: Child,
    shown: Arc<Mutex<Shown>>,
}

struct Shown {
    screen: Screen,
    /// All that the program has written.
    written: Vec<u8>,
}

impl Terminal {
    /// Starts a program on a host, on a terminal of this size.
    ///
    /// # Errors
    /// There is no terminal to be had, or the program cannot be started.
    pub fn start(node: &Node, mut command: Command, (columns, rows): (u16, u16)) -> Result<Self> {
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pair = openpty(Some(&size), None).context("openpty")?;
        let before = tcgetattr(&pair.slave).context("tcgetattr")?;
        command
            .env("TERM", "xterm-256color")
            .stdin(pair.slave.try_clone()?)
            .stdout(pair.slave.try_clone()?)
            .stderr(pair.slave.try_clone()?);
        die_with_parent(&mut command);
        let take_terminal = || {
            setsid()?;
            // SAFETY: the call takes no pointer; descriptor 0 is the terminal by now.
            let taken = unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) };
            nix::errno::Errno::result(taken)?;
            Ok(())
        };
        // SAFETY: between fork and exec, the closure makes two system calls; it takes no lock and
        // allocates nothing.
        unsafe { command.pre_exec(take_terminal) };
        let child = node
            .run(move || command.spawn())
            .with_context(|| format!("starting a program on {}", node.name()))?;
        let shown = Arc::new(Mutex::new(Shown {
            screen: Screen::new(columns.into(), rows.into()),
            written: Vec::new(),
        }));
        let keys = File::from(pair.master);
        let (mut output, watched) = (keys.try_clone()?, Arc::clone(&shown));
        // Ends with the terminal: reading fails when nobody holds its other end.
        thread::spawn(move || {
            let mut octets = [0; 65_536];
            while let Ok(length @ 1..) = output.read(&mut octets) {
                let mut shown = watched.lock().unwrap_or_else(PoisonError::into_inner);
                shown.written.extend(&octets[..length]);
                shown.screen.write(&octets[..length]);
            }
        });
        Ok(Self {
            keys,
            line: pair.slave,
            before,
            child,
            shown,
        })
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is on the screen, a line each.
    #[must_use]
    pub fn screen(&self) -> String {
        self.shown().screen.text()
    }

    /// All that the program has written.
    #[must_use]
    pub fn written(&self) -> String {
        String::from_utf8_lossy(&self.shown().written).into_owned()
    }

    /// Types.
    ///
    /// # Errors
    /// The terminal takes no more.
    pub fn press(&mut self, keys: &str) -> Result<()> {
        self.keys.write_all(keys.as_bytes()).context("typing")
    }

    /// Waits until the screen is as wanted, and gives it.
    ///
    /// # Errors
    /// It is not so within `limit`, or the program ends.
    pub fn wait_until(
        &mut self,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<String> {
        let deadline = Instant::now() + limit;
        loop {
            let screen = self.screen();
            if wanted(&screen) {
                return Ok(screen);
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("ended ({status}) before {what}:\n{}", self.screen());
            }
            if Instant::now() > deadline {
                bail!("not within {limit:?}: {what}\n{screen}");
            }
            thread::sleep(LOOK);
        }
    }

    /// Sends the program a signal.
    ///
    /// # Errors
    /// It has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(self.child.id().cast_signed());
        kill(pid, signal).with_context(|| format!("sending {signal}"))
    }

    /// Waits for the program's end, and asserts that the terminal is as it was.
    ///
    /// # Errors
    /// It does not end within `limit`, or leaves the terminal otherwise than it was.
    pub fn wait_for_end(&mut self, limit: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if Instant::now() > deadline {
                bail!("it does not end within {limit:?}:\n{}", self.screen());
            }
            thread::sleep(LOOK);
        };
        let after = tcgetattr(self.line.as_fd()).context("tcgetattr")?;
        if after != self.before {
            bail!("the modes were {:?} and are {after:?}", self.before);
        }
        // What it wrote last may be on its way still.
        while let Some(fault) = self.shown().screen.fault() {
            if Instant::now() > deadline {
                bail!("{fault}");
            }
            thread::sleep(LOOK);
        }
        Ok(status)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended, and then all is well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
