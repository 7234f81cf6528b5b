//! A program on a terminal: what is typed, what is on the screen, and whether the terminal is afterwards
//! as it was.

mod screen;

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::{
        fd::{AsFd as _, AsRawFd as _, OwnedFd},
        unix::process::CommandExt as _,
    },
    process::{Child, Command, ExitStatus},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use nix::{
    errno::Errno,
    fcntl::{OFlag, open},
    poll::{PollFd, PollFlags, poll},
    pty::{grantpt, posix_openpt, ptsname_r, unlockpt},
    sys::{
        signal::{Signal, kill},
        stat::Mode,
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
    keys: Option<File>,
    /// Looks at the screen until the terminal is gone.
    watcher: Option<JoinHandle<()>>,
    is_gone: Arc<AtomicBool>,
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
        let (master, slave) = pair((columns, rows)).context("making a terminal")?;
        let before = tcgetattr(&slave).context("tcgetattr")?;
        command
            .env("TERM", "xterm-256color")
            .stdin(slave.try_clone()?)
            .stdout(slave.try_clone()?)
            .stderr(slave.try_clone()?);
        die_with_parent(&mut command);
        let take_terminal = || {
            setsid()?;
            // SAFETY: the call takes no pointer; descriptor 0 is the terminal by now.
            let taken = unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) };
            Errno::result(taken)?;
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
        let keys = File::from(master);
        let is_gone = Arc::new(AtomicBool::new(false));
        let (output, watched) = (keys.try_clone()?, Arc::clone(&shown));
        let is_over = Arc::clone(&is_gone);
        let watcher = thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                watch(&output, &watched);
            }
        });
        Ok(Self {
            keys: Some(keys),
            watcher: Some(watcher),
            is_gone,
            line: slave,
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
        let mut line = self.keys.as_ref().context("the terminal is gone")?;
        line.write_all(keys.as_bytes()).context("typing")
    }

    /// Goes away, as by a connection that breaks; gives how the program ends then.
    ///
    /// # Errors
    /// It does not end within `limit`.
    pub fn hang_up(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.let_go();
        self.await_end(Instant::now() + limit)
    }

    /// Closes its end of the line.
    fn let_go(&mut self) {
        self.keys = None;
        self.is_gone.store(true, Ordering::Relaxed);
        if let Some(watcher) = self.watcher.take() {
            // Its panic has been printed, and the screen is what tests look at.
            let _ = watcher.join();
        }
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

    fn await_end(&mut self, deadline: Instant) -> Result<ExitStatus> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!("it does not end:\n{}", self.screen());
            }
            thread::sleep(LOOK);
        }
    }

    /// Waits for the program's end, and asserts that the terminal is as it was.
    ///
    /// # Errors
    /// It does not end within `limit`, or leaves the terminal otherwise than it was.
    pub fn wait_for_end(&mut self, limit: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        let status = self.await_end(deadline)?;
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

/// Both ends of a terminal of this size. No other program inherits one: a terminal is gone only when
/// nobody holds its first.
fn pair((columns, rows): (u16, u16)) -> Result<(OwnedFd, OwnedFd)> {
    let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let path = ptsname_r(&master)?;
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let slave = open(path.as_str(), flags, Mode::empty())?;
    let size = libc::winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the pointer is to a local `winsize`, which the call only reads.
    let set = unsafe { libc::ioctl(slave.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
    Errno::result(set)?;
    Ok((master.as_fd().try_clone_to_owned()?, slave))
}

/// Takes what there is to take, for a moment.
fn watch(output: &File, shown: &Mutex<Shown>) {
    let mut sources = [PollFd::new(output.as_fd(), PollFlags::POLLIN)];
    let mut octets = [0; 65_536];
    if let Ok(1) = poll(&mut sources, 50_u16) {
        let mut output = output;
        if let Ok(length @ 1..) = output.read(&mut octets) {
            let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
            shown.written.extend(&octets[..length]);
            shown.screen.write(&octets[..length]);
        } else {
            // Nobody holds the other end.
            thread::sleep(LOOK);
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended, and then all is well.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.let_go();
    }
}
