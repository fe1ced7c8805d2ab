//! Forgetting flows that lead to places no longer there.
//!
//! A TCP flow to a dead endpoint ends by itself. A UDP client that keeps sending keeps its flow alive for ever, to an
//! endpoint that is gone or, if there was none, to nowhere. So whoever takes an endpoint away drops its UDP flows.

use std::net::IpAddr;

use super::{DUMP, Error, Frames, Socket, Subsystem, attribute};
use crate::family::{self, Family};

const SUBSYSTEM: u16 = 1 << 8;
const GET: u16 = SUBSYSTEM | 1;
const DELETE: u16 = SUBSYSTEM | 2;
const UDP: u8 = 17;

/// A UDP flow as the kernel remembers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Where the client sent to.
    pub to: (IpAddr, u16),
    /// Who answers.
    pub from: (IpAddr, u16),
}

/// Drops every UDP flow of a family that `stale` picks; how many.
pub fn flush(family: Family, mut stale: impl FnMut(&Flow) -> bool) -> Result<usize, Error> {
    let mut socket = Socket::open(Subsystem::Netfilter)?;
    let head = [family.number(), 0, 0, 0];
    // Where a tuple has source and destination.
    let (source, destination) = match family {
        Family::Four => (1, 2),
        Family::Six => (3, 4),
    };
    let mut frames = Frames::default();
    frames.message(GET, DUMP, &head, |_| {});
    let mut doomed = Vec::new();
    socket.ask("list flows", &frames, |_, body| {
        let picked = body.get(4..).and_then(|rest| {
            let original = attribute(rest, 1)?;
            let answer = attribute(rest, 2)?;
            let flow = Flow { to: end(original, destination, 3)?, from: end(answer, source, 2)? };
            stale(&flow).then(|| (original.to_vec(), attribute(rest, 12).map(<[u8]>::to_vec)))
        });
        doomed.extend(picked);
    })?;
    let mut dropped = 0;
    for (original, id) in doomed {
        let mut frames = Frames::default();
        frames.message(DELETE, 0, &head, |a| {
            a.nest(1, |a| a.raw(&original));
            if let Some(id) = &id {
                a.bytes(12, id);
            }
        });
        match socket.request("drop flow", frames) {
            Ok(()) => dropped += 1,
            Err(error) if error.missing() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(dropped)
}

/// Address and port of one end of a UDP flow's tuple; None for other protocols.
fn end(tuple: &[u8], address: u16, port: u16) -> Option<(IpAddr, u16)> {
    let protocol = attribute(tuple, 2)?;
    if attribute(protocol, 1)? != [UDP] {
        return None;
    }
    let ip = family::address(attribute(attribute(tuple, 1)?, address)?)?;
    let port = <[u8; 2]>::try_from(attribute(protocol, port)?).ok()?;
    Some((ip, u16::from_be_bytes(port)))
}
