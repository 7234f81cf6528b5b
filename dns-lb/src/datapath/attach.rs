//! Putting the program on interfaces: new links, adopted links, native and generic mode.

use std::{
    ffi::{CStr, CString},
    os::fd::AsFd as _,
};

use aya::programs::{
    ProgramError,
    links::{FdLink, PinnedLink},
    xdp::{XdpLink, XdpMode as KernelMode},
};
use tracing::{info, warn};

use super::{
    AttachedMode, Datapath, DatapathError,
    error::{chain, os_error},
    pins::LinkPin,
    program,
    syscall::{link_interface, open_pin},
};
use crate::config::XdpMode;

/// One interface that steers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Name of the interface.
    pub interface: String,
    /// Its index.
    pub ifindex: u32,
    /// How the program is attached.
    pub mode: AttachedMode,
    /// The kernel's number of the link.
    pub link_id: u32,
}

impl Datapath {
    /// Attaches the program to these interfaces and to no other: a pinned link is given the new
    /// program in one step, a missing one is made, one of an interface that is no longer wanted is
    /// removed. New maps take the place of those that they replace.
    ///
    /// # Errors
    ///
    /// If new maps hold no configuration yet ([`DatapathError::Unfilled`]): nothing has changed, and
    /// they still wait for one. If an interface does not exist or refuses: after
    /// [`grow`](Self::grow) every link then has the program that it had, and the growth is
    /// cancelled; after a [start](Self::load), interfaces before the one that refuses carry the
    /// program already.
    pub fn attach(
        &mut self,
        interfaces: &[String],
        mode: XdpMode,
    ) -> Result<Vec<Attachment>, DatapathError> {
        if let Some(replacement) = &self.replacement {
            replacement.require_filled(&self.directory)?;
        }
        let attachments = self
            .switch_to_program(interfaces, mode)
            .inspect_err(|_| self.restore())?;
        if let Some(replacement) = &mut self.replacement {
            // The program has its name, so there is no way back: what fails from here on is made up
            // for by the next call, or by the next start.
            replacement.before = None;
            replacement.commit(&self.directory)?;
        }
        self.replacement = None;
        Ok(attachments)
    }

    /// Whether the program is still on the interface: somebody may have detached the link.
    ///
    /// # Errors
    ///
    /// If the kernel does not tell.
    pub fn is_attached(&self, attachment: &Attachment) -> Result<bool, DatapathError> {
        let path = self.directory.link(LinkPin {
            ifindex: attachment.ifindex,
            mode: attachment.mode,
        });
        let failed = |error: &dyn std::error::Error| DatapathError::pin("open", &path, error);
        let link = open_pin(&path).map_err(|error| failed(&error))?;
        let on = link_interface(link.as_fd()).map_err(|error| failed(&error))?;
        Ok(on == attachment.ifindex)
    }

    fn switch_to_program(
        &mut self,
        interfaces: &[String],
        mode: XdpMode,
    ) -> Result<Vec<Attachment>, DatapathError> {
        let wanted = interfaces
            .iter()
            .map(|name| Ok((name.as_str(), interface_index(name)?)))
            .collect::<Result<Vec<_>, DatapathError>>()?;
        let pinned = self.directory.links()?;
        if let Some(replacement) = &mut self.replacement {
            replacement.carry_counts()?;
        }

        let mut attachments = Vec::with_capacity(wanted.len());
        for &(name, ifindex) in &wanted {
            let pin = pinned.iter().find(|pin| pin.ifindex == ifindex);
            let adopted = match pin {
                Some(pin) if pin.mode.satisfies(mode) => self.adopt_link(name, *pin)?,
                _ => None,
            };
            attachments.push(match adopted {
                Some(attachment) => attachment,
                None => match pin {
                    Some(pin) => self.attach_instead(name, *pin, mode)?,
                    None => self.attach_new(name, ifindex, mode)?,
                },
            });
        }
        for pin in pinned {
            if !wanted.iter().any(|&(_, ifindex)| ifindex == pin.ifindex) {
                self.directory.remove_link(pin)?;
                info!(
                    ifindex = pin.ifindex,
                    "detached from an interface that is not configured"
                );
            }
        }
        self.pin_program()?;
        Ok(attachments)
    }

    /// Gives every link the program back that it had before a growth: the one whose maps the agent
    /// goes on writing.
    fn restore(&mut self) {
        if !self.cancel_growth() {
            return;
        }
        let links = self.directory.links().unwrap_or_default();
        for pin in links {
            let name = interface_name(pin.ifindex).unwrap_or_default();
            if let Err(error) = self.adopt_link(&name, pin) {
                warn!(interface = name, %error, "is left with a program that steers on as it is");
            }
        }
    }

    /// Gives a pinned link this program. `None` if its interface went away meanwhile.
    fn adopt_link(
        &mut self,
        name: &str,
        pin: LinkPin,
    ) -> Result<Option<Attachment>, DatapathError> {
        let path = self.directory.link(pin);
        let open = |error: &dyn std::error::Error| DatapathError::pin("open", &path, error);
        let link: FdLink = PinnedLink::from_pin(&path)
            .map_err(|error| open(&error))?
            .into();
        let link = XdpLink::try_from(link).map_err(|error| open(&error))?;
        let program = program(&mut self.ebpf)?;
        let id = match program.attach_to_link(link) {
            Ok(id) => id,
            Err(error) if os_error(&error) == Some(libc::ENOLINK) => return Ok(None),
            Err(source) => {
                return Err(DatapathError::Attach {
                    interface: name.to_owned(),
                    mode: XdpMode::Auto,
                    source: Box::new(source),
                });
            }
        };
        let link = program.take_link(id).map_err(|error| open(&error))?;
        let link = FdLink::try_from(link).map_err(|error| open(&error))?;
        let link_id = link.info().map_err(|error| open(&error))?.id();
        Ok(Some(Attachment {
            interface: name.to_owned(),
            ifindex: pin.ifindex,
            mode: pin.mode,
            link_id,
        }))
    }

    /// Attaches in the place of a link that does not do. The kernel takes no second mode beside the
    /// first, so for a moment none is there; if it refuses the new mode, the old one is restored.
    fn attach_instead(
        &mut self,
        name: &str,
        pin: LinkPin,
        mode: XdpMode,
    ) -> Result<Attachment, DatapathError> {
        self.directory.remove_link(pin)?;
        let attached = self.attach_new(name, pin.ifindex, mode);
        if attached.is_err()
            && let Err(error) = self.attach_new(name, pin.ifindex, pin.mode.into())
        {
            warn!(interface = name, %error, "the link that was there cannot be restored");
        }
        attached
    }

    /// Attaches to an interface that carries nothing of ours, and pins the link.
    fn attach_new(
        &mut self,
        name: &str,
        ifindex: u32,
        mode: XdpMode,
    ) -> Result<Attachment, DatapathError> {
        let program = program(&mut self.ebpf)?;
        let failed = |mode, source| DatapathError::Attach {
            interface: name.to_owned(),
            mode,
            source: Box::new(source),
        };
        let native = match mode {
            XdpMode::Auto | XdpMode::Native => {
                match program.attach_to_if_index(ifindex, KernelMode::Driver) {
                    Ok(id) => Some(id),
                    Err(error) if mode == XdpMode::Auto && refuses_native(&error) => {
                        warn!(
                            interface = name,
                            reason = chain(&error),
                            "no native XDP here: attaching in generic mode, which is slower"
                        );
                        None
                    }
                    Err(error) => return Err(failed(XdpMode::Native, error)),
                }
            }
            XdpMode::Generic => None,
        };
        let (id, mode) = match native {
            Some(id) => (id, AttachedMode::Native),
            None => {
                let id = program
                    .attach_to_if_index(ifindex, KernelMode::Skb)
                    .map_err(|error| failed(XdpMode::Generic, error))?;
                (id, AttachedMode::Generic)
            }
        };
        let link = program
            .take_link(id)
            .map_err(|error| failed(XdpMode::Auto, error))?;
        let link = FdLink::try_from(link).map_err(|_| DatapathError::NoLink {
            interface: name.to_owned(),
        })?;
        let path = self.directory.link(LinkPin { ifindex, mode });
        let link_id = link
            .info()
            .map_err(|error| DatapathError::pin("open", &path, &error))?
            .id();
        // Dropping the returned handle leaves the pin, which holds the link from now on.
        let _pinned = link
            .pin(&path)
            .map_err(|error| DatapathError::pin("pin", &path, &error))?;
        Ok(Attachment {
            interface: name.to_owned(),
            ifindex,
            mode,
            link_id,
        })
    }
}

/// Whether the error says that the driver cannot, or cannot now, as opposed to may not.
fn refuses_native(error: &ProgramError) -> bool {
    matches!(
        os_error(error),
        Some(libc::EOPNOTSUPP | libc::EINVAL | libc::ERANGE | libc::EMSGSIZE | libc::ENOMEM)
    )
}

/// Index of an interface in this network namespace.
///
/// # Errors
///
/// If there is none of this name.
pub fn interface_index(name: &str) -> Result<u32, DatapathError> {
    let missing = || DatapathError::NoInterface {
        name: name.to_owned(),
    };
    let text = CString::new(name).map_err(|_| missing())?;
    // SAFETY: the argument is a C string that lives through the call.
    match unsafe { libc::if_nametoindex(text.as_ptr()) } {
        0 => Err(missing()),
        index => Ok(index),
    }
}

/// Name of an interface of this network namespace; `None` if there is none of this index.
#[must_use]
pub fn interface_name(index: u32) -> Option<String> {
    let mut octets = [0_u8; libc::IF_NAMESIZE];
    // SAFETY: the kernel's names fit into IF_NAMESIZE octets with the one that ends them.
    let name = unsafe { libc::if_indextoname(index, octets.as_mut_ptr().cast()) };
    if name.is_null() {
        return None;
    }
    let name = CStr::from_bytes_until_nul(&octets).ok()?;
    Some(name.to_string_lossy().into_owned())
}
