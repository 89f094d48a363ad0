//! Rust for `proto/control.proto`, without a protoc on the machine.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    const FILE: &str = "proto/control.proto";
    println!("cargo:rerun-if-changed={FILE}");
    let files = protox::compile([FILE], ["proto"])?;
    tonic_prost_build::configure().compile_fds(files)?;
    Ok(())
}
