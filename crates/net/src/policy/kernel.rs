//! Writes what the plan says: differences where the table stands, the whole table where it does not.

use crate::Error;
use crate::family::Family;
use crate::ledger::{self, Difference, Ledger};
use crate::model::Key;
use crate::netlink::nft::{Batch, Tables};
use crate::policy::plan::{Entry, Frame};
use crate::policy::table::{self, SetId};

/// The part that talks to the kernel about one family of addresses; blocking.
#[derive(Debug)]
pub(super) struct Kernel {
    family: Family,
    table: String,
    frame: Frame,
    ledger: Ledger<SetId>,
    state: State,
}

/// What is in the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Perhaps a table of an earlier run, perhaps half of one.
    #[default]
    Unknown,
    /// No table.
    Empty,
    /// A table for the frame, with what is in the ledger.
    Standing,
}

/// What there is to do.
#[derive(Clone, Debug)]
pub(super) enum Work {
    /// No pod here is under any policy.
    Nothing,
    /// The elements of these pods are now others.
    Pods(Vec<(Key, Vec<Entry>)>),
    /// Another frame, and the elements of all pods that have any.
    All(Frame, Vec<(Key, Vec<Entry>)>),
    /// To see whether the table is still there: somebody, perhaps we, removed it.
    Look,
    /// What was wanted before, since it could not be written.
    Repair,
}

impl Kernel {
    pub(super) fn new(family: Family, table: String) -> Self {
        Self { family, table, frame: Frame::default(), ledger: Ledger::default(), state: State::Unknown }
    }

    /// Whose addresses it knows.
    pub(super) fn family(&self) -> Family {
        self.family
    }

    /// Does the work; after a failure [`Work::Repair`] does all of it.
    pub(super) fn apply(&mut self, work: Work) -> Result<(), Error> {
        let mut difference = Difference::default();
        let (mut fits, mut look) = (false, false);
        match work {
            Work::Nothing => (self.frame, self.ledger) = Default::default(),
            Work::Repair => {}
            Work::Look => look = true,
            Work::Pods(pods) => {
                fits = true;
                for (key, elements) in pods {
                    self.ledger.set(&key, elements, &mut difference);
                }
            }
            Work::All(frame, pods) => {
                self.frame = frame;
                self.ledger = Ledger::default();
                for (key, elements) in pods {
                    self.ledger.set(&key, elements, &mut difference);
                }
            }
        }
        // Before this all that was wanted is remembered.
        let mut tables = Tables::open().inspect_err(|_| self.state = State::Unknown)?;
        if look && (self.state != State::Standing || tables.exists(self.family, &self.table)?) {
            return Ok(());
        }
        if self.frame.groups.is_empty() {
            if self.state != State::Empty && tables.exists(self.family, &self.table)? {
                tables.remove(self.family, &self.table).inspect_err(|_| self.state = State::Unknown)?;
            }
            self.state = State::Empty;
            return Ok(());
        }
        if fits && self.state == State::Standing {
            let mut batch = Batch::on(self.family, &self.table);
            difference.write(&mut batch);
            match tables.commit("write policies' elements", batch) {
                Ok(()) => return Ok(()),
                Err(error) => tracing::warn!(%error, "policies are not as we left them, writing all anew"),
            }
        }
        self.state = State::Unknown;
        let mut batch = Batch::on(self.family, &self.table);
        table::create(&mut batch, &self.frame);
        for (set, elements) in &self.ledger.all() {
            ledger::add(&mut batch, *set, elements);
        }
        tables.commit("write all policies", batch)?;
        self.state = State::Standing;
        Ok(())
    }
}
