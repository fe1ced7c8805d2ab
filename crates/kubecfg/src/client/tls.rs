//! TLS: whom to believe and what to show, from flags, the credentials file or Skiff's kubeconfig, in this order.

use std::path::Path;

use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use skiff_base::tls;

use super::auth::Credentials;
use crate::args::Flags;
use crate::ending::Ending;
use crate::target::Target;

/// Where distributions keep the authorities that everybody believes.
const SYSTEM: &[&str] = &["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];

/// The configuration for every connection; plain ones do not look at it.
pub(crate) async fn config(
    flags: &Flags,
    target: &Target,
    credentials: &Credentials,
) -> Result<ClientConfig, Ending> {
    tls::install_provider();
    let first = |flag: &str, file: &str| {
        [flags.text(flag), file].into_iter().find(|path| !path.is_empty()).map(str::to_owned)
    };
    let ca = match first("certificate_authority", &credentials.ca_file) {
        Some(path) => Some(read(&path).await?),
        None => target.ca.clone(),
    };
    let cert = first("client_certificate", &credentials.cert_file);
    let key = first("client_key", &credentials.key_file);
    let identity = match (cert, key) {
        (Some(cert), Some(key)) => Some((read(&cert).await?, read(&key).await?)),
        _ => target.identity.clone(),
    };
    let insecure = flags.truth("insecure_skip_tls_verify") || credentials.insecure;
    let builder = ClientConfig::builder();
    let builder = if insecure {
        builder.dangerous().with_custom_certificate_verifier(tls::any_server())
    } else {
        builder.with_root_certificates(roots(ca, target.is_https()).await?)
    };
    match identity {
        None => Ok(builder.with_no_client_auth()),
        Some((cert, key)) => {
            let cert = tls::certs(&cert).map_err(|error| broken(&error))?;
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| broken(&error))?;
            builder.with_client_auth_cert(cert, key).map_err(|error| broken(&error))
        }
    }
}

fn broken(error: &dyn std::error::Error) -> Ending {
    Ending::fatal(format!("Can't configure client: {error}"))
}

async fn read(path: &str) -> Result<String, Ending> {
    tokio::fs::read_to_string(Path::new(path))
        .await
        .map_err(|error| Ending::fatal(format!("Can't configure client: {path}: {error}")))
}

async fn roots(ca: Option<String>, needed: bool) -> Result<RootCertStore, Ending> {
    let mut roots = RootCertStore::empty();
    if let Some(pem) = ca {
        for cert in tls::certs(&pem).map_err(|error| broken(&error))? {
            roots.add(cert).map_err(|error| broken(&error))?;
        }
    } else if needed {
        for path in SYSTEM {
            let Ok(pem) = tokio::fs::read_to_string(path).await else { continue };
            // One odd authority among the system's hundred is no reason to believe none.
            roots.add_parsable_certificates(tls::certs(&pem).unwrap_or_default());
            break;
        }
    }
    Ok(roots)
}
