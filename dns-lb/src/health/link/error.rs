//! What can go wrong on this side of a probe through the VIP.

use std::{fmt, io};

use libc::{EACCES, EADDRNOTAVAIL, EMFILE, ENFILE, ENODEV, ENXIO, EPERM};

/// A probe that was not made, for a fault on this side: it says nothing of the backend.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation}: {error}{}", advice(*operation, error))]
pub struct LinkError {
    /// What could not be done.
    pub operation: Operation,
    /// Why.
    pub error: io::Error,
}

/// What a probe through the VIP does on this side of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Putting query and addresses together.
    Address,
    /// Opening the packet socket of an interface.
    OpenPacketSocket,
    /// Having the kernel pass the replies to a set of ports, and nothing else.
    Filter,
    /// Receiving frames to a MAC address that is not the interface's.
    ReceiveForeign,
    /// Holding a port of the source address, so that the kernel refuses no reply to it.
    HoldPort,
    /// Sending a frame.
    Send,
    /// Receiving frames.
    Receive,
}

impl LinkError {
    pub(super) fn invalid(why: impl Into<String>) -> Self {
        let error = io::Error::new(io::ErrorKind::InvalidInput, why.into());
        Operation::Address.failed(error)
    }

    /// Whether the interface is not there any more: to be looked up anew.
    #[must_use]
    pub fn is_interface_gone(&self) -> bool {
        matches!(self.error.raw_os_error(), Some(ENODEV | ENXIO))
    }
}

impl Operation {
    pub(super) fn failed(self, error: io::Error) -> LinkError {
        LinkError {
            operation: self,
            error,
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Address => "address the query",
            Self::OpenPacketSocket => "open a packet socket on the interface",
            Self::Filter => "filter what the packet socket receives",
            Self::ReceiveForeign => "receive frames to another MAC address",
            Self::HoldPort => "hold a port of the source address",
            Self::Send => "send on the interface",
            Self::Receive => "receive on the interface",
        })
    }
}

/// What the operator may do about it.
fn advice(operation: Operation, error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(EPERM | EACCES) => match operation {
            Operation::OpenPacketSocket => "; probes through the VIP need CAP_NET_RAW",
            // Newer kernels let nobody else filter what TCP gets.
            Operation::Filter | Operation::HoldPort => {
                "; on this kernel probes through the VIP need CAP_NET_ADMIN"
            }
            _ => {
                "; something on this host forbids it, such as a filter of what leaves it, or an LSM"
            }
        },
        Some(EADDRNOTAVAIL) => "; the source must be an address of this host",
        Some(EMFILE | ENFILE) => "; raise the limit of open files (LimitNOFILE=)",
        Some(ENODEV | ENXIO) => "; the interface is gone",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_to_do() {
        for (operation, errno, advice) in [
            (Operation::OpenPacketSocket, EPERM, "CAP_NET_RAW"),
            (Operation::HoldPort, EPERM, "CAP_NET_ADMIN"),
            (Operation::Send, EPERM, "filter of what leaves it"),
            (Operation::HoldPort, EADDRNOTAVAIL, "address of this host"),
            (Operation::HoldPort, EMFILE, "LimitNOFILE"),
            (Operation::Send, ENXIO, "interface is gone"),
        ] {
            let error = operation.failed(io::Error::from_raw_os_error(errno));
            let text = error.to_string();
            assert!(
                text.starts_with("cannot ") && text.contains(advice),
                "{text}"
            );
            assert_eq!(error.is_interface_gone(), errno == ENXIO);
        }
    }
}
