//! How drivers of volumes are taken in when they register.

use std::path::Path;

use futures::future::BoxFuture;

use super::client::Plugin;
use super::{Driver, Drivers};
use crate::plugins::Handler;
use crate::plugins::proto::PluginInfo;

impl Handler for Drivers {
    fn kind(&self) -> &'static str {
        "CSIPlugin"
    }

    fn accept<'a>(&'a self, info: &'a PluginInfo, endpoint: &'a Path) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            self.add(driver(info, endpoint).await?);
            Ok(())
        })
    }

    fn forget(&self, name: &str, _: &Path) {
        self.remove(name);
    }
}

async fn driver(info: &PluginInfo, endpoint: &Path) -> Result<Driver, String> {
    if !crate::volume::is_name(&info.name) {
        return Err(format!("invalid driver name {:?}", info.name));
    }
    let major = |version: &String| version.trim_start_matches('v').split('.').next() == Some("1");
    if !info.supported_versions.iter().any(major) {
        let versions = info.supported_versions.join(", ");
        return Err(format!("driver {} supports none of the versions 1.x: {versions}", info.name));
    }
    let plugin = Plugin::at(endpoint);
    let (node, capabilities) = tokio::try_join!(plugin.node_info(), plugin.capabilities())?;
    if node.node_id.is_empty() {
        return Err(format!("driver {} gives the node no id", info.name));
    }
    let capabilities = capabilities.capabilities.into_iter().filter_map(|one| Some(one.rpc?.kind)).collect();
    Ok(Driver { name: info.name.clone(), plugin, node, capabilities })
}
