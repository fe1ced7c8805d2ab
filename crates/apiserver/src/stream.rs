//! Answers that come from elsewhere: a kubelet, a pod, a service; passed through without looking into them. And answers
//! in frames, wherever they come from.

mod connect;
pub(crate) mod frames;
pub(crate) mod kubelet;
mod links;
pub(crate) mod pod;
pub(crate) mod proxy;
pub(crate) mod relay;
