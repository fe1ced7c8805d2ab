//! What only a kernel can show: needs root; every test lives in network namespaces of its own and removes them.

mod cni;
mod dns;
mod given;
mod hosts;
mod proxy;
