//! How a probe ended in a few words, for status and logs.

use std::{fmt, net::IpAddr};

use hickory_proto::op::ResponseCode;

use super::{
    super::reply::Ignored, Ending, Operation, Outcome, OwnFault, Shortfall, Unasked, Unreachable,
};

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.ending)?;
        if let Some(query) = &self.query {
            write!(f, " ({query})")?;
        }
        if let Some(Unasked { vip, interface }) = &self.unasked {
            let family = family(*vip);
            write!(
                f,
                "; {vip} not asked itself: no {family} address on {interface}"
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed { code, .. } => write_mnemonic(f, *code),
            Self::NotAccepted {
                code, shortfall, ..
            } => {
                if !matches!(shortfall, Shortfall::SerialBehind { .. }) {
                    write_mnemonic(f, *code)?;
                }
                write!(f, "{shortfall}")
            }
            Self::Malformed { .. } => f.write_str("garbage reply"),
            Self::Refused { .. } => f.write_str("port refused"),
            Self::Closed { ignored, .. } => {
                f.write_str("connection closed before a reply")?;
                write_ignored(f, *ignored)
            }
            Self::Unreachable { why, .. } => write!(f, "unreachable: {why}"),
            Self::TimedOut { ignored, .. } => {
                f.write_str("timeout")?;
                write_ignored(f, *ignored)
            }
            Self::WrongSource {
                source,
                vip,
                is_own,
                ..
            } => {
                let (from, to) = (source.port(), vip.port());
                let (source, vip) = (source.ip(), vip.ip());
                if source == vip {
                    return write!(f, "answered from port {from} of the VIP {vip}, not {to}");
                }
                write!(f, "answered from {source}, not from the VIP {vip}")?;
                f.write_str(match is_own {
                    true => ": bound to the wildcard?",
                    false => "",
                })
            }
            Self::WrongMac { .. } => f.write_str(
                "answered to the MAC address that the query came from, not to the client's",
            ),
            Self::AnsweredByAnother { backend, mac, .. } => {
                write!(f, "answered by another backend, {backend} ({mac})")
            }
            Self::VipMissing {
                vip,
                answers_on: Some(address),
            } => write!(
                f,
                "answers on {address}, not on the VIP {vip}: is it on the loopback?"
            ),
            Self::VipMissing {
                vip,
                answers_on: None,
            } => write!(f, "the VIP {vip} is not on this host"),
            Self::NotFound { why } => write!(f, "not found on the link: {why}"),
            Self::OwnFault(fault) => write!(f, "{fault}"),
        }
    }
}

impl fmt::Display for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code => f.write_str(" not accepted"),
            Self::NotAuthoritative => f.write_str(", but not authoritative (AA)"),
            Self::Truncated => f.write_str(", but truncated"),
            Self::TooFewAnswers { answers, wanted } => {
                write!(f, ", but {answers} of at least {wanted} answers")
            }
            Self::ValueMissing => f.write_str(", but the expected value is not in the answers"),
            Self::SerialMissing => f.write_str(", but no SOA record in the answers"),
            Self::SerialBehind {
                serial,
                lag,
                highest,
            } => write!(f, "serial {serial} is {lag} behind the highest, {highest}"),
        }
    }
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel(error) => write!(f, "{error}"),
            Self::Icmp {
                source,
                icmp_type,
                code,
            } => {
                let family = if source.is_ipv4() { "" } else { "v6" };
                write!(
                    f,
                    "ICMP{family} type {icmp_type}, code {code}, from {source}"
                )
            }
        }
    }
}

impl fmt::Display for OwnFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(why) => f.write_str(why),
            Self::NoSource { vip, interface } => {
                let family = family(*vip);
                write!(
                    f,
                    "no own {family} address on {interface} to ask the VIP {vip} from"
                )
            }
            Self::NoDescriptor => {
                f.write_str("no descriptor free; raise the limit of open files (LimitNOFILE=)")
            }
            Self::NotLocated => f.write_str("its MAC address is not known yet"),
            Self::NoCarrier { interface } => write!(f, "{interface} has no carrier"),
            Self::Socket { operation, error } => write!(f, "cannot {operation}: {error}"),
            Self::Link(error) => write!(f, "{error}"),
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Encode => "encode the query",
            Self::OpenSocket => "open a socket",
            Self::Connect => "connect",
            Self::Send => "send",
            Self::Receive => "receive",
        })
    }
}

fn family(address: IpAddr) -> &'static str {
    match address {
        IpAddr::V4(_) => "IPv4",
        IpAddr::V6(_) => "IPv6",
    }
}

fn write_ignored(f: &mut fmt::Formatter<'_>, ignored: Option<Ignored>) -> fmt::Result {
    match ignored {
        Some(ignored) => write!(f, ", ignored {ignored}"),
        None => Ok(()),
    }
}

/// A response code by its name in the IANA registry of DNS parameters.
fn write_mnemonic(f: &mut fmt::Formatter<'_>, code: ResponseCode) -> fmt::Result {
    const MNEMONICS: [&str; 11] = [
        "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET",
        "NXRRSET", "NOTAUTH", "NOTZONE",
    ];
    let code = u16::from(code);
    match MNEMONICS.get(usize::from(code)) {
        Some(mnemonic) => f.write_str(mnemonic),
        // Of a message without a signature (RFC 6891, 6.1.3).
        None if code == 16 => f.write_str("BADVERS"),
        None if code == 23 => f.write_str("BADCOOKIE"),
        None => write!(f, "RCODE{code}"),
    }
}
