//! The command line: one file a command. Commands that live in namespaces enter them before the runtime starts.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::{Args as ClapArgs, Parser, Subcommand};
use ipnet::IpNet;
use skiff_net::family::{Family, further};

use crate::families::{Each, word};
use crate::layout::Layout;

mod agent;
mod authn;
mod authorization;
mod checks;
mod down;
mod eviction;
mod hollow;
mod image;
mod kubeconfigs;
mod oidc;
mod server;
mod status;
mod tokens;
mod up;
mod webhooks;

pub(crate) use eviction::EvictionArgs;

/// Kubernetes in one small binary, and the API of 2014 beside it
#[derive(Parser)]
#[command(name = "skiff", version, propagate_version = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a cluster on this machine: server and nodes
    Up(up::Up),
    /// Stop the cluster of this machine, its pods included
    Down(down::Down),
    /// Show what runs and how it is
    Status(DataDir),
    /// Run the server alone: API, scheduler, controllers
    Server(server::Server),
    /// Run a node alone: kubelet, service proxy, DNS, pod network
    Agent(agent::Agent),
    /// Run nodes that exist at the API alone, by the hundred or thousand, to try things at scale
    Hollow(hollow::Hollow),
    /// Bring images to the nodes of this machine without a registry
    #[command(subcommand)]
    Image(image::Image),
    /// Print a kubeconfig for this cluster
    Kubeconfig(kubeconfigs::Kubeconfig),
    /// Tell what this machine lacks, and the command that mends it
    Check,
    /// The command line of 2014; the same as the name `kubecfg`
    #[command(disable_help_flag = true)]
    Kubecfg {
        /// As kubecfg takes them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Stop one node's pods and containerd for good (used by `down`)
    #[command(hide = true)]
    StopNode(down::StopNode),
}

/// Where everything of a cluster lies.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct DataDir {
    /// Where everything of the cluster lies
    #[arg(long, default_value = "/var/lib/skiff")]
    pub(crate) data_dir: PathBuf,
}

impl DataDir {
    pub(crate) fn layout(&self) -> Layout {
        Layout::new(&std::path::absolute(&self.data_dir).unwrap_or_else(|_| self.data_dir.clone()))
    }
}

/// Addresses and times that server and nodes must agree on.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct ClusterArgs {
    /// The API's port
    #[arg(long, default_value_t = 6443)]
    pub(crate) port: u16,
    /// Also serve plain HTTP for clients of 2014 on this port of the loopback interface, without authentication
    #[arg(long, value_name = "PORT")]
    pub(crate) legacy_port: Option<u16>,
    /// Addresses of services: a range of IPv4, of IPv6, or of both with a comma, the first of which services have by default
    #[arg(long, default_value = "10.96.0.0/16")]
    pub(crate) service_cidr: Each<IpNet>,
    /// Addresses of pods: a range of IPv4, of IPv6, or of both with a comma; each node takes a /24 of IPv4, a /64 of IPv6
    #[arg(long, default_value = "10.244.0.0/16")]
    pub(crate) cluster_cidr: Each<IpNet>,
    /// The domain of cluster DNS
    #[arg(long, default_value = "cluster.local")]
    pub(crate) cluster_domain: String,
    /// How long a node may be silent before it counts as lost, in seconds
    #[arg(long, default_value_t = 50, value_name = "SECONDS")]
    pub(crate) node_monitor_grace_period: u64,
    /// How long pods stay on a lost node unless they say so themselves, in seconds
    #[arg(long, default_value_t = 300, value_name = "SECONDS")]
    pub(crate) default_unreachable_toleration_seconds: i64,
    #[command(flatten)]
    pub(crate) authn: authn::AuthnArgs,
    #[command(flatten)]
    pub(crate) oidc: oidc::OidcArgs,
    #[command(flatten)]
    pub(crate) tokens: tokens::TokenArgs,
    #[command(flatten)]
    pub(crate) webhooks: webhooks::WebhookArgs,
    /// Which requests the audit log tells of: a Policy of audit.k8s.io/v1
    #[arg(long, value_name = "FILE")]
    pub(crate) audit_policy_file: Option<PathBuf>,
    /// Where the audit log is written; "-" for standard output
    #[arg(long, value_name = "FILE", requires = "audit_policy_file")]
    pub(crate) audit_log_path: Option<PathBuf>,
    /// How pods are placed: a KubeSchedulerConfiguration with profiles
    #[arg(long, value_name = "FILE")]
    pub(crate) scheduler_config: Option<PathBuf>,
    /// What admission plugins are told: an AdmissionConfiguration
    #[arg(long, value_name = "FILE")]
    pub(crate) admission_control_config_file: Option<PathBuf>,
    /// Admission plugins to use besides the usual ones, such as AlwaysPullImages
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) enable_admission_plugins: Vec<String>,
    /// Admission plugins not to use
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) disable_admission_plugins: Vec<String>,
    /// Which built-in APIs are served: api/all, api/ga, api/beta, api/alpha, GROUP/VERSION or GROUP/VERSION/RESOURCE, each
    /// with =true or =false; stable ones are by default
    #[arg(long, value_name = "KEY=VALUE", value_delimiter = ',')]
    pub(crate) runtime_config: Vec<String>,
    /// Which controllers run, in kube-controller-manager's names: "*" is all, "-name" switches one off
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        default_value = "*",
        allow_hyphen_values = true
    )]
    pub(crate) controllers: Vec<String>,
}

impl ClusterArgs {
    /// The same again as arguments, for a process of our own.
    pub(crate) fn to_args(&self) -> Vec<String> {
        [
            ("--port", self.port.to_string()),
            ("--service-cidr", self.service_cidr.to_string()),
            ("--cluster-cidr", self.cluster_cidr.to_string()),
            ("--cluster-domain", self.cluster_domain.clone()),
        ]
        .into_iter()
        .flat_map(|(flag, value)| [flag.to_owned(), value])
        .collect()
    }

    /// The addresses of cluster DNS: the tenth of each service range, as everywhere. Pods ask the first.
    pub(crate) fn dns(&self) -> Each<IpAddr> {
        self.service_cidr.map(|net| further(net.network(), 10))
    }

    /// What is to be known of ranges before anything starts.
    ///
    /// # Errors
    /// If they do not fit each other.
    pub(crate) fn check_ranges(&self) -> anyhow::Result<()> {
        for family in self.service_cidr.families() {
            if self.cluster_cidr.get(family).is_none() {
                let family = word(family);
                bail!("--service-cidr has a range of {family}, --cluster-cidr has none: no pod could answer");
            }
        }
        for net in self.cluster_cidr.iter() {
            let (least, most) = match Family::of(net.addr()) {
                Family::Four => (0, 24),
                Family::Six => (48, 64),
            };
            if !(least..=most).contains(&net.prefix_len()) {
                bail!(
                    "--cluster-cidr {net}: its length must be {least} to {most}, for nodes take a /{most} each"
                );
            }
        }
        Ok(())
    }

    /// The node's addresses that its user named, or those of the machine: one of each family that pods have.
    ///
    /// # Errors
    /// If one is missing.
    pub(crate) fn node_addresses(&self, named: Option<&Each<IpAddr>>) -> anyhow::Result<Each<IpAddr>> {
        let inside: Vec<IpNet> = self.cluster_cidr.iter().chain(self.service_cidr.iter()).copied().collect();
        let mut all = Vec::new();
        for family in self.cluster_cidr.families() {
            all.push(match named {
                None => crate::roles::node::machine_address(family, &inside)?,
                Some(named) => match named.get(family) {
                    Some(address) => *address,
                    None => bail!(
                        "--node-ip {named}: pods have addresses of {0}, so the node needs one as well; name one of \
                         each family, with a comma",
                        word(family)
                    ),
                },
            });
        }
        Each::of(all).ok_or_else(|| anyhow::anyhow!("a node has an address"))
    }
}

/// Runs a command; the exit code says how it went.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Up(up) => up.run(),
        Command::Down(down) => down.run(),
        Command::Status(data_dir) => status::run(&data_dir.layout()),
        Command::Server(server) => server.run(),
        Command::Agent(agent) => agent.run(),
        Command::Hollow(hollow) => hollow.run(),
        Command::Image(image) => image.run(),
        Command::Kubeconfig(kubeconfig) => kubeconfig.run(),
        Command::Check => Ok(checks::run()),
        Command::Kubecfg { args } => Ok(kubecfg(args)),
        Command::StopNode(stop) => stop.run(),
    }
}

/// The client of 2014.
pub(crate) fn kubecfg(args: Vec<String>) -> ExitCode {
    match runtime(1) {
        Ok(runtime) => crate::exit(runtime.block_on(skiff_kubecfg::run(args))),
        Err(error) => {
            crate::progress::complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// The asynchronous runtime; commands that only ask something need one thread.
pub(crate) fn runtime(threads: usize) -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .max_blocking_threads(16)
        .enable_all()
        .build()?)
}
