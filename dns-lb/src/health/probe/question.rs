//! What is asked: a query's octets, and what makes a message the reply to it.

use std::str::FromStr;

use hickory_proto::{
    ProtoError,
    op::{Edns, Message, MessageType, OpCode, Query},
    rr::{
        DNSClass, Name, RecordType,
        rdata::opt::{EdnsOption, NSIDPayload},
    },
};

use crate::config::Question;

/// Octets of UDP payload that are offered where the check says nothing of EDNS, and NSID needs an
/// OPT record: what fits any link (RFC 9715).
const EDNS_OCTETS: u16 = 1_232;

/// What makes a message the reply to a query: the id and the question.
#[derive(Clone, Debug)]
pub struct Expected {
    pub(super) id: u16,
    asked: Query,
}

impl Expected {
    /// The reply to this question, asked once, under a random id, and where the name has a random
    /// part, with one of its own.
    #[must_use]
    pub fn new(question: &Question) -> Self {
        Self {
            id: rand::random(),
            asked: Query::query(question.name.draw(), question.record_type),
        }
    }

    /// The reply to `id.server. CH TXT` (RFC 4892).
    pub(super) fn identity() -> Self {
        let name = Name::from_str("id.server.").expect("a test asks for it");
        let mut asked = Query::query(name, RecordType::TXT);
        asked.set_query_class(DNSClass::CH);
        Self {
            id: rand::random(),
            asked,
        }
    }

    /// The query's octets (RFC 1035, 4.1). With `nsid` the server is asked who it is, too
    /// (RFC 5001).
    ///
    /// # Errors
    /// None for a name that was itself parsed from text or wire.
    pub fn query(&self, question: &Question, nsid: bool) -> Result<Vec<u8>, ProtoError> {
        let mut edns = question.edns_size.map(edns);
        if nsid {
            let payload = NSIDPayload::new(Vec::new())?;
            let with_options = edns.get_or_insert_with(|| self::edns(EDNS_OCTETS));
            with_options.options_mut().insert(EdnsOption::NSID(payload));
        }
        self.encode(question.recursion_desired, edns)
    }

    /// The octets of the query for a server's identity.
    pub(super) fn identity_query(&self) -> Result<Vec<u8>, ProtoError> {
        self.encode(false, None)
    }

    fn encode(&self, recursion_desired: bool, edns: Option<Edns>) -> Result<Vec<u8>, ProtoError> {
        let mut message = Message::new(self.id, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = recursion_desired;
        message.add_query(self.asked.clone());
        message.edns = edns;
        message.to_vec()
    }

    /// Whether a message's question is the one that was asked. Names compare without regard to case
    /// (RFC 4343).
    pub(super) fn asks(&self, question: &Query) -> bool {
        *question == self.asked
    }
}

fn edns(octets: u16) -> Edns {
    let mut edns = Edns::new();
    edns.set_max_payload(octets);
    edns
}
