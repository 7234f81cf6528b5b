//! The Unix socket as a file: made with its mode and group, replaced if stale, removed at the end.

use std::{
    fs::{self, DirBuilder, Permissions},
    io,
    os::unix::fs::{
        DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _, chown,
    },
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    net::{UnixListener, UnixStream},
    time::timeout,
};

use super::accounts;
use crate::{api::connections::Listener, config::Api};

/// Until one who listens must have taken a connection. The kernel takes it in his place at once.
const CONNECT_DEADLINE: Duration = Duration::from_secs(1);

/// The socket that takes commands. Its file goes when this is dropped, if it is still ours.
#[derive(Debug)]
pub struct AdminSocket {
    listener: UnixListener,
    path: PathBuf,
    identity: (u64, u64),
}

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Somebody listens there.
    #[error(
        "an agent takes commands at {} already: stop it, or set api.admin_socket to another place",
        path.display()
    )]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// There is something else, which is not ours to remove.
    #[error(
        "{} is there and is not a socket: remove it, or set api.admin_socket to another place",
        path.display()
    )]
    NotASocket {
        /// What is there.
        path: PathBuf,
    },
    /// The host has no such group.
    #[error("the host has no group {group}: add it, or set api.admin_group to another")]
    NoGroup {
        /// As configured.
        group: String,
    },
    /// The system does not let us.
    #[error("cannot {operation} the admin socket {}: {reason}{}", path.display(), remedy(reason))]
    System {
        /// What was tried, such as "make".
        operation: &'static str,
        /// The socket.
        path: PathBuf,
        /// What the system says.
        reason: io::Error,
    },
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; the user that the agent runs as must have leave to write to its directory"
        }
        io::ErrorKind::NotFound => "; make the directory, or set api.admin_socket to another place",
        io::ErrorKind::ReadOnlyFilesystem => "; set api.admin_socket to another place",
        _ => "",
    }
}

impl AdminSocket {
    /// Makes the socket, and its directory if that directory's parent is there. A socket that nobody
    /// listens at is replaced. Nobody can connect before mode and group are set.
    ///
    /// # Errors
    /// Somebody listens there, something else is there, there is no such group, or the system does
    /// not let us.
    pub async fn bind(api: &Api) -> Result<Self, SocketError> {
        let path = api.admin_socket.as_path();
        let failed = |operation| {
            move |reason| SocketError::System {
                operation,
                path: path.to_owned(),
                reason,
            }
        };
        let group = match &api.admin_group {
            None => None,
            Some(group) => {
                let id = accounts::group_id(group);
                Some(id.ok_or_else(|| SocketError::NoGroup {
                    group: group.clone(),
                })?)
            }
        };
        let directory = path.parent().unwrap_or(Path::new("/"));
        make_directory(directory).map_err(failed("make the directory of"))?;
        refuse_others(path).await?;

        // A socket can be connected to as soon as it is made, with whatever mode the umask leaves:
        // it is made where nobody else can go, and moved.
        let draft = Draft::new(directory).map_err(failed("prepare"))?;
        let socket = draft.0.join("s");
        let listener = UnixListener::bind(&socket).map_err(failed("make"))?;
        chown(&socket, None, group).map_err(failed("set the group of"))?;
        fs::set_permissions(&socket, Permissions::from_mode(api.admin_mode))
            .map_err(failed("set the mode of"))?;
        let identity = identity(&socket).map_err(failed("look at"))?;
        fs::rename(&socket, path).map_err(failed("place"))?;
        Ok(Self {
            listener,
            path: path.to_owned(),
            identity,
        })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        // Another agent may have taken the place since: that one's stays.
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Listener for AdminSocket {
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<UnixStream> {
        let (stream, _) = self.listener.accept().await?;
        Ok(stream)
    }
}

fn make_directory(directory: &Path) -> io::Result<()> {
    match DirBuilder::new().create(directory) {
        // Not by the umask: a group that may use the socket must get to it.
        Ok(()) => fs::set_permissions(directory, Permissions::from_mode(0o755)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Refuses to take the place of anything but a socket that nobody listens at.
async fn refuse_others(path: &Path) -> Result<(), SocketError> {
    let cannot_look = |reason| SocketError::System {
        operation: "look at",
        path: path.to_owned(),
        reason,
    };
    let in_use = || SocketError::InUse {
        path: path.to_owned(),
    };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(cannot_look(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(SocketError::NotASocket {
                path: path.to_owned(),
            });
        }
        Ok(_) => {}
    }
    let connected = timeout(CONNECT_DEADLINE, UnixStream::connect(path)).await;
    match connected.map_err(|_| in_use())? {
        Ok(_) => Err(in_use()),
        Err(error) => match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => Ok(()),
            // So many wait to be taken that somebody must be expected to.
            io::ErrorKind::WouldBlock => Err(in_use()),
            _ => Err(cannot_look(error)),
        },
    }
}

/// Device and number of a file.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

/// A directory that only we can enter. It goes, and a socket in it, when this is dropped.
struct Draft(PathBuf);

impl Draft {
    /// The name is short: the path of a socket must be, and the configuration counts on it.
    fn new(beside: &Path) -> io::Result<Self> {
        let draft = Self(beside.join(format!(".{}", std::process::id())));
        // One who had our number and was killed may have left his.
        draft.remove();
        DirBuilder::new().mode(0o700).create(&draft.0)?;
        Ok(draft)
    }

    /// As far as there is something to remove.
    fn remove(&self) {
        let _ = fs::remove_file(self.0.join("s"));
        let _ = fs::remove_dir(&self.0);
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        self.remove();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(path: &Path, mode: u32) -> Api {
        Api {
            listen: ([127, 0, 0, 1], 8_053).into(),
            admin_socket: path.to_owned(),
            admin_mode: mode,
            admin_group: None,
        }
    }

    #[tokio::test]
    async fn is_made_as_configured_and_removed_at_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dns-lb/admin.sock");
        for mode in [0o600, 0o660, 0o666] {
            let mut api = api(&path, mode);
            // By number, and one that this process may give it to.
            let own = fs::metadata(directory.path()).unwrap().gid();
            api.admin_group = Some(own.to_string());
            let socket = AdminSocket::bind(&api).await.unwrap();
            let found = fs::symlink_metadata(&path).unwrap();
            assert_eq!(found.mode() & 0o7777, mode);
            assert_eq!(found.gid(), own);
            UnixStream::connect(&path).await.unwrap();
            socket.accept().await.unwrap();
            let below = path.parent().unwrap();
            assert_eq!(fs::metadata(below).unwrap().mode() & 0o777, 0o755);
            assert_eq!(fs::read_dir(below).unwrap().count(), 1, "no draft is left");
            drop(socket);
            assert!(!path.exists());
        }
    }

    #[tokio::test]
    async fn takes_the_place_of_the_dead_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.sock");
        let api = api(&path, 0o660);
        // A listener of std leaves its file behind, as one that was killed does.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let first = AdminSocket::bind(&api).await.unwrap();
        let error = AdminSocket::bind(&api).await.unwrap_err();
        assert!(matches!(error, SocketError::InUse { .. }), "{error}");
        UnixStream::connect(&path).await.unwrap();

        // Whoever took the place keeps it when the first one ends.
        fs::remove_file(&path).unwrap();
        let second = AdminSocket::bind(&api).await.unwrap();
        drop(first);
        UnixStream::connect(&path).await.unwrap();
        drop(second);

        fs::write(&path, "precious").unwrap();
        let error = AdminSocket::bind(&api).await.unwrap_err();
        assert!(matches!(error, SocketError::NotASocket { .. }), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        let link = directory.path().join("link");
        std::os::unix::fs::symlink("admin.sock", &link).unwrap();
        let mut api = api;
        api.admin_socket = link;
        let error = AdminSocket::bind(&api).await.unwrap_err();
        assert!(matches!(error, SocketError::NotASocket { .. }), "{error}");
    }

    #[tokio::test]
    async fn says_what_to_do_where_it_cannot_be() {
        let directory = tempfile::tempdir().unwrap();
        let missing = api(&directory.path().join("not/there/admin.sock"), 0o660);
        let error = AdminSocket::bind(&missing).await.unwrap_err().to_string();
        assert!(error.contains("cannot make the directory of"), "{error}");
        assert!(
            error.ends_with("set api.admin_socket to another place"),
            "{error}"
        );

        let mut api = api(&directory.path().join("admin.sock"), 0o660);
        api.admin_group = Some("no group has this name".to_owned());
        let error = AdminSocket::bind(&api).await.unwrap_err();
        assert!(matches!(error, SocketError::NoGroup { .. }), "{error}");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    /// The longest path that the configuration takes leaves room for the draft.
    #[tokio::test]
    async fn the_longest_path_works() {
        let directory = tempfile::tempdir().unwrap();
        let room = 96 - directory.path().as_os_str().len() - 1;
        for name in ["x".repeat(room), format!("{}/x", "d".repeat(room - 2))] {
            let path = directory.path().join(name);
            assert_eq!(path.as_os_str().len(), 96);
            AdminSocket::bind(&api(&path, 0o600)).await.unwrap();
        }
    }
}
