//! The CNI plugin alone, for trying it with a runtime or measuring it; in Skiff the `skiff` binary plays it.

fn main() {
    std::process::exit(skiff_net::cni::main());
}
