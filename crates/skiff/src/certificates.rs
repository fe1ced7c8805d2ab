//! Who is who in the cluster: one table of identities, issued by the cluster's own authority at the first start.

use std::net::IpAddr;
use std::path::Path;

use anyhow::Context;
use skiff_apiserver::FrontProxy;
use skiff_base::pki::{Authority, Identity, Request};

use crate::families::Each;
use crate::layout::Layout;

/// A component's identity, as Kubernetes names it.
pub(crate) struct Component {
    /// The files' name.
    pub(crate) file: &'static str,
    /// CN.
    pub(crate) user: &'static str,
    /// O.
    pub(crate) groups: &'static [&'static str],
}

pub(crate) const ADMIN: Component =
    Component { file: "admin", user: "kubernetes-admin", groups: &["system:masters"] };
/// The server, when it calls a kubelet.
pub(crate) const APISERVER: Component =
    Component { file: "apiserver-kubelet-client", user: "kube-apiserver", groups: &["system:masters"] };
pub(crate) const CONTROLLERS: Component =
    Component { file: "controllers", user: "system:kube-controller-manager", groups: &[] };
pub(crate) const SCHEDULER: Component =
    Component { file: "scheduler", user: "system:kube-scheduler", groups: &[] };

/// The service network of a machine that is no node itself.
pub(crate) const PROXY: Component = Component { file: "proxy", user: "system:kube-proxy", groups: &[] };

/// The group of all kubelets.
pub(crate) const NODES_GROUP: &str = "system:nodes";

impl Component {
    fn request(&self) -> Request {
        let groups = self.groups.iter().map(|group| (*group).to_owned()).collect();
        Request { name: self.user.to_owned(), groups, hosts: Vec::new() }
    }

    /// The identity, issued at the first call.
    pub(crate) fn identity(&self, authority: &Authority, layout: &Layout) -> anyhow::Result<Identity> {
        authority
            .issue_once(&layout.pki(), self.file, &self.request())
            .with_context(|| format!("issue the certificate of {}", self.user))
    }
}

/// The cluster's authority, made at the first start.
pub(crate) fn authority(layout: &Layout) -> anyhow::Result<Authority> {
    Authority::open(&layout.pki(), "ca").context("open the cluster's certificate authority")
}

/// The server, when it passes requests on to another API server: its certificate is of an authority kept for that alone,
/// since who shows one of those may speak in anybody's name.
const FRONT_PROXY: Component =
    Component { file: "front-proxy-client", user: "front-proxy-client", groups: &[] };

/// How the server passes requests on to other API servers.
pub(crate) fn front_proxy(layout: &Layout) -> anyhow::Result<FrontProxy> {
    let authority =
        Authority::open(&layout.pki(), "front-proxy-ca").context("open the authority of proxies")?;
    let identity = FRONT_PROXY.identity(&authority, layout)?;
    let ca_pem = authority.cert_pem().to_owned();
    Ok(FrontProxy { identity, ca_pem, names: vec![FRONT_PROXY.user.to_owned()] })
}

/// The server's own certificate; issued anew at each start, since the machine's addresses may have changed.
pub(crate) fn server(authority: &Authority, hosts: Vec<String>) -> anyhow::Result<Identity> {
    authority
        .issue(&Request { name: "kube-apiserver".to_owned(), groups: Vec::new(), hosts })
        .context("issue the server's certificate")
}

/// A node's name as a user.
pub(crate) fn node_user(node: &str) -> String {
    format!("system:node:{node}")
}

/// A node's certificate: client of the server and server of logs and exec at once.
pub(crate) fn node(
    authority: &Authority,
    folder: &Path,
    name: &str,
    addresses: &Each<IpAddr>,
) -> anyhow::Result<Identity> {
    let mut names = vec![name.to_owned()];
    names.extend(addresses.iter().map(IpAddr::to_string));
    let request = Request { name: node_user(name), groups: vec![NODES_GROUP.to_owned()], hosts: names };
    let identity =
        authority.issue(&request).with_context(|| format!("issue the certificate of node {name}"))?;
    let write =
        |file: &str, text: &str| skiff_base::fs::write_atomically(&folder.join(file), text.as_bytes(), 0o600);
    write("node.key", &identity.key_pem)
        .and_then(|()| write("node.crt", &identity.cert_pem))
        .context("write it")?;
    Ok(identity)
}
