//! Between wire format and values.

use dns_core::{Answer, Data, Record, RecordType as Wanted, TTL_SECS};
use hickory_proto::op::{Edns, Message, MessageType, Metadata, OpCode, Query as WireQuery, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{DNSClass, Name, RData, Record as WireRecord, RecordType};

/// UDP bytes that every client takes.
const UDP_BYTES: usize = 512;
/// UDP bytes that are sent at most, whatever a client asks for: larger datagrams are cut up on the way.
const UDP_BYTES_MAX: usize = 1232;

/// A query that can be answered.
#[derive(Clone, Debug)]
pub struct Query {
    /// The name in question, without the last dot.
    pub name: String,
    /// The type in question.
    pub record_type: Wanted,
    metadata: Metadata,
    question: WireQuery,
    edns_bytes_max: Option<u16>,
}

/// Reads a query. `None` for what is none: a reply, several questions, another class, or no DNS at all; nothing is sent
/// back then, so that nobody can be made to talk to a third.
pub fn parse(bytes: &[u8]) -> Option<Query> {
    let message = Message::from_vec(bytes).ok()?;
    let [question] = message.queries.as_slice() else {
        return None;
    };
    let is_query = message.metadata.message_type == MessageType::Query && message.metadata.op_code == OpCode::Query;
    if !is_query || !matches!(question.query_class(), DNSClass::IN | DNSClass::ANY) {
        return None;
    }
    let record_type = match question.query_type() {
        RecordType::A => Wanted::A,
        RecordType::AAAA => Wanted::Aaaa,
        RecordType::SRV => Wanted::Srv,
        RecordType::PTR => Wanted::Ptr,
        RecordType::CNAME => Wanted::Cname,
        RecordType::TXT => Wanted::Txt,
        RecordType::ANY => Wanted::Any,
        _ => Wanted::Other,
    };
    Some(Query {
        name: question.name().to_ascii().trim_end_matches('.').to_owned(),
        record_type,
        metadata: message.metadata,
        question: question.clone(),
        edns_bytes_max: message.edns.as_ref().map(Edns::max_payload),
    })
}

impl Query {
    /// Longest reply that the client takes over UDP.
    pub fn udp_bytes_max(&self) -> usize {
        self.edns_bytes_max.map_or(UDP_BYTES, |n| usize::from(n).clamp(UDP_BYTES, UDP_BYTES_MAX))
    }
}

fn reply_to(query: &Query) -> Message {
    let mut reply = Message::new(query.metadata.id, MessageType::Response, OpCode::Query);
    reply.metadata = Metadata::response_from_request(&query.metadata);
    reply.metadata.recursion_available = true;
    reply.add_query(query.question.clone());
    if query.edns_bytes_max.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(u16::try_from(UDP_BYTES_MAX).unwrap_or(u16::MAX));
        reply.set_edns(edns);
    }
    reply
}

/// The reply's bytes; cut, with the mark that says so, if they are more than `bytes_max`.
pub(crate) fn encode(query: &Query, answer: &Answer, bytes_max: usize) -> Vec<u8> {
    let mut reply = reply_to(query);
    reply.metadata.authoritative = true;
    match answer {
        Answer::Records { answers, additionals } => {
            reply.add_answers(answers.iter().filter_map(|r| wire(r, Some(query))));
            reply.add_additionals(additionals.iter().filter_map(|r| wire(r, None)));
        }
        Answer::NoData => {
            reply.add_authorities(nothing(query));
        }
        Answer::NoSuchName => {
            reply.metadata.response_code = ResponseCode::NXDomain;
            reply.add_authorities(nothing(query));
        }
        Answer::NotYet | Answer::Alias { .. } | Answer::Forward => {
            reply.metadata.authoritative = false;
            reply.metadata.response_code = ResponseCode::ServFail;
        }
    }
    finish(&mut reply, bytes_max)
}

fn finish(reply: &mut Message, bytes_max: usize) -> Vec<u8> {
    let bytes = reply.to_vec().unwrap_or_default();
    if bytes.len() <= bytes_max {
        return bytes;
    }
    // The client asks again over TCP.
    reply.answers.clear();
    reply.additionals.clear();
    reply.metadata.truncation = true;
    reply.to_vec().unwrap_or_default()
}

/// The record by which a "no" is given a lifetime: none (D11).
fn nothing(query: &Query) -> Option<WireRecord> {
    let labels = usize::from(query.question.name().num_labels());
    let zone = query.question.name().trim_to(labels.min(2));
    let server = Name::from_ascii("ns.dns").ok()?.append_domain(&zone).ok()?;
    let person = Name::from_ascii("hostmaster").ok()?.append_domain(&zone).ok()?;
    let soa = SOA::new(server, person, 1, 7200, 1800, 86400, 0);
    Some(WireRecord::from_rdata(zone, 0, RData::SOA(soa)))
}

/// A record on the wire. One that answers the question carries the name as it was written: clients that mix upper and
/// lower case look whether it comes back so.
fn wire(record: &Record, query: Option<&Query>) -> Option<WireRecord> {
    let name = match query {
        Some(query) if query.name.eq_ignore_ascii_case(&record.name) => query.question.name().clone(),
        _ => absolute(&record.name)?,
    };
    let data = match &record.data {
        Data::A(address) => RData::A(A(*address)),
        Data::Aaaa(address) => RData::AAAA(AAAA(*address)),
        Data::Srv { port, weight, target } => RData::SRV(SRV::new(0, *weight, *port, absolute(target)?)),
        Data::Ptr(target) => RData::PTR(PTR(absolute(target)?)),
        Data::Cname(target) => RData::CNAME(CNAME(absolute(target)?)),
        Data::Txt(text) => RData::TXT(TXT::new(vec![text.clone()])),
    };
    Some(WireRecord::from_rdata(name, TTL_SECS, data))
}

fn absolute(name: &str) -> Option<Name> {
    Name::from_ascii(format!("{}.", name.trim_end_matches('.'))).ok()
}

/// The client's question about another name.
pub(crate) fn question(query: &Query, name: &str) -> Option<Vec<u8>> {
    let mut message = Message::new(query.metadata.id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(WireQuery::query(absolute(name)?, query.question.query_type()));
    message.to_vec().ok()
}

/// A resolver's answers about the target, behind our alias.
pub(crate) fn with_alias(query: &Query, alias: &Record, reply: &[u8]) -> Option<Vec<u8>> {
    let found = Message::from_vec(reply).ok()?;
    let mut message = reply_to(query);
    message.metadata.response_code = found.metadata.response_code;
    message.add_answer(wire(alias, Some(query))?);
    message.add_answers(found.answers.iter().cloned());
    Some(finish(&mut message, query.udp_bytes_max()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn asked(name: &str, edns: Option<u16>) -> Query {
        let mut message = Message::new(7, MessageType::Query, OpCode::Query);
        message.add_query(WireQuery::query(Name::from_ascii(name).expect("a name"), RecordType::A));
        if let Some(bytes) = edns {
            let mut extension = Edns::new();
            extension.set_max_payload(bytes);
            message.set_edns(extension);
        }
        parse(&message.to_vec().expect("bytes")).expect("a query")
    }

    fn many(count: u8) -> Answer {
        let record = |n| Record { name: "a.b".into(), data: Data::A(Ipv4Addr::new(10, 0, 0, n)) };
        Answer::Records { answers: (0..count).map(record).collect(), additionals: Vec::new() }
    }

    #[test]
    fn a_no_has_a_lifetime_of_zero() {
        // N-22.
        let query = asked("none.ns.svc.cluster.local.", None);
        for (answer, code) in [(Answer::NoSuchName, ResponseCode::NXDomain), (Answer::NoData, ResponseCode::NoError)] {
            let reply = Message::from_vec(&encode(&query, &answer, 512)).expect("a reply");
            assert_eq!(reply.metadata.response_code, code);
            let soa = reply.authorities.first().expect("the record of the zone");
            assert_eq!(soa.ttl, 0);
            assert!(matches!(&soa.data, RData::SOA(soa) if soa.minimum == 0));
        }
    }

    #[test]
    fn a_long_answer_is_cut_for_udp_and_says_so() {
        // N-26.
        let query = asked("a.b.", None);
        let reply = Message::from_vec(&encode(&query, &many(100), query.udp_bytes_max())).expect("a reply");
        assert!(reply.metadata.truncation && reply.answers.is_empty());
        let query = asked("a.b.", Some(4096));
        assert_eq!(query.udp_bytes_max(), UDP_BYTES_MAX);
        let reply = Message::from_vec(&encode(&query, &many(50), query.udp_bytes_max())).expect("a reply");
        assert!(!reply.metadata.truncation && reply.answers.len() == 50 && reply.edns.is_some());
    }

    #[test]
    fn what_is_no_query_gets_no_reply() {
        assert!(parse(b"").is_none() && parse(&[0; 11]).is_none() && parse(&[255; 64]).is_none());
        let query = asked("a.b.", None);
        assert!(parse(&encode(&query, &many(1), 512)).is_none(), "a reply is not answered");
    }

    #[test]
    fn the_name_comes_back_as_it_was_written() {
        let query = asked("A.b.", None);
        let reply = Message::from_vec(&encode(&query, &many(1), 512)).expect("a reply");
        assert_eq!(reply.answers[0].name.to_ascii(), "A.b.");
    }
}
