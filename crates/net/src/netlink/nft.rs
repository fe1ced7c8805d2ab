//! nftables: tables, chains, sets and their elements, in transactions.
//!
//! A [`Batch`] is one transaction: the kernel does all of it or nothing. Elements go into named sets and data maps;
//! adding one costs microseconds however many there are, where a rule or a verdict would make the kernel check every
//! chain again.

use super::expr::{Expr, jump_to};
use super::{APPEND, CREATE, DUMP, Error, Frames, Socket, Subsystem, attribute, attributes};
use crate::family::Family;

const SUBSYSTEM: u16 = 10 << 8;
/// The kernel's limit for one attribute is 64 KB; an element takes at most some 90 bytes.
const ELEMENTS_PER_MESSAGE: usize = 400;

/// Where in a packet's way a base chain sits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// As it arrives.
    Prerouting,
    /// On its way to this machine.
    Input,
    /// Passing through.
    Forward,
    /// Made by this machine.
    Output,
    /// As it leaves.
    Postrouting,
}

/// What a field of a key is; only so that `nft list` prints it readably.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// An address of the table's family.
    Address,
    /// TCP, UDP, SCTP.
    Protocol,
    /// A port.
    Port,
    /// A plain number.
    Number,
}

/// A named set (no value) or data map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// Its name in the table.
    pub name: String,
    /// The key's fields; four bytes each, but for addresses.
    pub key: &'static [Field],
    /// The value's fields; empty for a set.
    pub value: &'static [Field],
    /// Rules add to it, and entries vanish after so many seconds without use.
    pub timeout: Option<u32>,
}

/// An element: key and value as the registers hold them.
pub type Element = (Vec<u8>, Vec<u8>);

/// One transaction on one table.
#[derive(Debug)]
pub struct Batch<'a> {
    family: Family,
    table: &'a str,
    frames: Frames,
    sets: u32,
}

impl<'a> Batch<'a> {
    /// An empty transaction on that table of a family.
    pub fn on(family: Family, table: &'a str) -> Self {
        let mut frames = Frames::default();
        let head = [0, 0, 0, 10];
        frames.message(0x10, 0, &head, |_| {});
        Self { family, table, frames, sets: 0 }
    }

    /// Of which packets.
    pub fn family(&self) -> Family {
        self.family
    }

    /// True if there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.frames.messages <= 1
    }

    fn message(&mut self, kind: u16, flags: u16, fill: impl FnOnce(&mut super::Attributes<'_>)) {
        self.frames.message(SUBSYSTEM | kind, flags, &[self.family.number(), 0, 0, 0], fill);
    }

    /// Makes the table if it is not there.
    pub fn table(&mut self) {
        let table = self.table;
        self.message(0, CREATE, |a| a.text(1, table));
    }

    /// Makes the table anew, empty, whatever was there; packets never see it missing.
    pub fn replace_table(&mut self) {
        let table = self.table;
        self.table();
        self.message(2, 0, |a| a.text(1, table));
        self.table();
    }

    /// Removes the table and all in it.
    pub fn remove_table(&mut self) {
        let table = self.table;
        self.table();
        self.message(2, 0, |a| a.text(1, table));
    }

    /// A chain that others jump to.
    pub fn chain(&mut self, name: &str) {
        let table = self.table;
        self.message(3, CREATE, |a| {
            a.text(1, table);
            a.text(3, name);
        });
    }

    /// A chain that the kernel calls; `kind` is `nat` or `filter`.
    pub fn base_chain(&mut self, name: &str, kind: &str, hook: Hook, priority: i32) {
        let table = self.table;
        self.message(3, CREATE, |a| {
            a.text(1, table);
            a.text(3, name);
            a.nest(4, |a| {
                a.network(1, hook as u32);
                a.bytes(2, &priority.to_be_bytes());
            });
            a.text(7, kind);
        });
    }

    /// Adds a rule at the chain's end.
    pub fn rule(&mut self, chain: &str, steps: &[Expr]) {
        let (table, family) = (self.table, self.family);
        self.message(6, CREATE | APPEND, |a| {
            a.text(1, table);
            a.text(2, chain);
            a.nest(4, |a| steps.iter().for_each(|step| step.write(a, family)));
        });
    }

    /// Makes a set or map.
    pub fn set(&mut self, set: &Set) {
        let (table, family) = (self.table, self.family);
        self.sets += 1;
        let id = self.sets;
        let (map, timeout, dynamic) = (0x8, 0x10, 0x20);
        let mut flags = if set.value.is_empty() { 0 } else { map };
        if set.timeout.is_some() {
            flags |= timeout | dynamic;
        }
        self.message(9, CREATE, |a| {
            a.text(1, table);
            a.text(2, &set.name);
            a.network(3, flags);
            a.network(4, type_of(set.key, family));
            a.network(5, size_of_fields(set.key, family));
            if !set.value.is_empty() {
                a.network(6, type_of(set.value, family));
                a.network(7, size_of_fields(set.value, family));
            }
            if let Some(seconds) = set.timeout {
                // What strangers can make us remember has to have an end.
                a.nest(9, |a| a.network(1, 1 << 18));
                a.bytes(11, &(u64::from(seconds) * 1000).to_be_bytes());
            }
            a.network(10, id);
        });
    }

    /// Makes a map from keys to chains.
    pub fn verdict_map(&mut self, name: &str, key: &[Field]) {
        let (table, family) = (self.table, self.family);
        self.sets += 1;
        let id = self.sets;
        self.message(9, CREATE, |a| {
            a.text(1, table);
            a.text(2, name);
            a.network(3, 0x8);
            a.network(4, type_of(key, family));
            a.network(5, size_of_fields(key, family));
            a.network(6, 0xffff_ff00);
            a.network(10, id);
        });
    }

    /// Lets a key of such a map lead into a chain and back. Unlike other elements it makes the kernel check all chains.
    pub fn jump(&mut self, map: &str, key: &[u8], chain: &str) {
        let table = self.table;
        self.message(12, CREATE, |a| {
            a.text(1, table);
            a.text(2, map);
            a.nest(3, |a| {
                a.nest(1, |a| {
                    a.nest(1, |a| a.bytes(1, key));
                    a.nest(2, |a| a.nest(2, |a| jump_to(a, chain)));
                });
            });
        });
    }

    /// Adds elements; a key that is there with another value must be removed first.
    pub fn add(&mut self, set: &str, elements: &[Element]) {
        self.elements(12, CREATE, set, elements);
    }

    /// Removes elements.
    pub fn remove(&mut self, set: &str, elements: &[Element]) {
        self.elements(14, 0, set, elements);
    }

    fn elements(&mut self, kind: u16, flags: u16, set: &str, elements: &[Element]) {
        let table = self.table;
        for some in elements.chunks(ELEMENTS_PER_MESSAGE) {
            self.message(kind, flags, |a| {
                a.text(1, table);
                a.text(2, set);
                a.nest(3, |a| {
                    for (key, value) in some {
                        a.nest(1, |a| {
                            a.nest(1, |a| a.bytes(1, key));
                            if !value.is_empty() && kind == 12 {
                                a.nest(2, |a| a.bytes(1, value));
                            }
                        });
                    }
                });
            });
        }
    }
}

fn size_of_fields(fields: &[Field], family: Family) -> u32 {
    fields.iter().map(|field| if *field == Field::Address { family.bytes() } else { 4 }).sum()
}

/// `nft`'s numbers for the types, six bits each.
fn type_of(fields: &[Field], family: Family) -> u32 {
    fields.iter().fold(0, |sum, field| {
        let number = match field {
            Field::Address if family == Family::Four => 7,
            Field::Address => 8,
            Field::Protocol => 12,
            Field::Port => 13,
            Field::Number => 19,
        };
        sum << 6 | number
    })
}

/// Speaks nftables in one namespace.
#[derive(Debug)]
pub struct Tables(Socket);

impl Tables {
    /// For the calling thread's namespace.
    pub fn open() -> Result<Self, Error> {
        Ok(Self(Socket::open(Subsystem::Netfilter)?))
    }

    /// Carries the transaction out, all or nothing.
    pub fn commit(&mut self, what: &'static str, mut batch: Batch<'_>) -> Result<(), Error> {
        if batch.is_empty() {
            return Ok(());
        }
        batch.frames.ask_for_answer();
        batch.frames.message(0x11, 0, &[0, 0, 0, 10], |_| {});
        self.0.request(what, batch.frames)
    }

    /// Removes the tables of that name, of either family; absent is fine.
    pub fn remove_all(&mut self, table: &str) -> Result<(), Error> {
        for family in Family::ALL {
            // A kernel may have no IPv6 at all.
            if family == Family::Four || self.exists(family, table).unwrap_or(false) {
                self.remove(family, table)?;
            }
        }
        Ok(())
    }

    /// Removes a table; absent is fine.
    pub fn remove(&mut self, family: Family, table: &str) -> Result<(), Error> {
        let mut batch = Batch::on(family, table);
        batch.remove_table();
        self.commit("remove table", batch)
    }

    /// True if there is such a table.
    pub fn exists(&mut self, family: Family, table: &str) -> Result<bool, Error> {
        let mut frames = Frames::default();
        frames.message(SUBSYSTEM | 1, 0, &[family.number(), 0, 0, 0], |a| a.text(1, table));
        match self.0.ask("look up table", &frames, |_, _| {}) {
            Ok(()) => Ok(true),
            Err(error) if error.missing() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// A set's elements; none if the set is not there.
    pub fn elements(&mut self, family: Family, table: &str, set: &str) -> Result<Vec<Element>, Error> {
        let mut frames = Frames::default();
        frames.message(SUBSYSTEM | 13, DUMP, &[family.number(), 0, 0, 0], |a| {
            a.text(1, table);
            a.text(2, set);
        });
        let mut all = Vec::new();
        let read = self.0.ask("list elements", &frames, |_, body| {
            let list = body.get(4..).and_then(|rest| attribute(rest, 3)).unwrap_or(&[]);
            for (_, element) in attributes(list) {
                let part =
                    |kind| attribute(element, kind).and_then(|data| attribute(data, 1)).map(<[u8]>::to_vec);
                if let Some(key) = part(1) {
                    all.push((key, part(2).unwrap_or_default()));
                }
            }
        });
        match read {
            Ok(()) => Ok(all),
            Err(error) if error.missing() => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}
