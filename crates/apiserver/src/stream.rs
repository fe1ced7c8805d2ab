//! Answers that come from elsewhere: a kubelet, a pod, a service; passed through without looking into them.

pub(crate) mod kubelet;
pub(crate) mod pod;
pub(crate) mod proxy;
pub(crate) mod relay;
