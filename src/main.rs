//! The exit code; everything else is in the library.

fn main() -> std::process::ExitCode {
    outrigger::cli::main()
}
