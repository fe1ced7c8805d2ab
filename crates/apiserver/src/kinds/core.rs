//! The core group, `/api/v1`.

pub mod config_map;
pub mod namespace;
