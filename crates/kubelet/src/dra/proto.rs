//! The messages between a node and a driver of devices (`dra/v1`; `dra/v1beta1` has the same numbers), by their numbers on
//! the wire.

use std::collections::HashMap;

use prost::Message;

/// A claim.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Claim {
    /// Where it is.
    #[prost(string, tag = "1")]
    pub namespace: String,
    /// Which of that name.
    #[prost(string, tag = "2")]
    pub uid: String,
    /// Its name.
    #[prost(string, tag = "3")]
    pub name: String,
}

/// Claims to be prepared, or unprepared.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Claims {
    /// Each.
    #[prost(message, repeated, tag = "1")]
    pub claims: Vec<Claim>,
}

/// What came of preparing claims.
#[derive(Clone, PartialEq, Message)]
pub struct Prepared {
    /// By the claim's uid.
    #[prost(map = "string, message", tag = "1")]
    pub claims: HashMap<String, PreparedClaim>,
}

/// What came of preparing a claim.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct PreparedClaim {
    /// What containers are to be given.
    #[prost(message, repeated, tag = "1")]
    pub devices: Vec<Device>,
    /// Or why it failed.
    #[prost(string, tag = "2")]
    pub error: String,
}

/// A device that is ready.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Device {
    /// For which of the claim's requests; for all if none is named.
    #[prost(string, repeated, tag = "1")]
    pub request_names: Vec<String>,
    /// Its pool.
    #[prost(string, tag = "2")]
    pub pool_name: String,
    /// Its name there.
    #[prost(string, tag = "3")]
    pub device_name: String,
    /// What containers are to be given, as specifications of the Container Device Interface call it.
    #[prost(string, repeated, tag = "4")]
    pub cdi_device_ids: Vec<String>,
    /// Which share of the device.
    #[prost(string, optional, tag = "5")]
    pub share_id: Option<String>,
}

/// What came of unpreparing claims.
#[derive(Clone, PartialEq, Message)]
pub struct Unprepared {
    /// By the claim's uid.
    #[prost(map = "string, message", tag = "1")]
    pub claims: HashMap<String, UnpreparedClaim>,
}

/// What came of unpreparing a claim.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct UnpreparedClaim {
    /// Why it failed.
    #[prost(string, tag = "1")]
    pub error: String,
}
