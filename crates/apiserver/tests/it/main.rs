//! The server from outside: every verb over every kind, watches, pages, conflicts, addresses, and HTTP itself.

mod cluster;
mod conflicts;
mod given;
mod http_face;
mod kinds;
mod lists;
mod services;
mod subresources;
mod watches;
