//! The binary: arguments in, exit code out. Its allocator is configured in `.cargo/config.toml`.

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    sms_sidecar::cli::main()
}
