fn main() {
    std::process::exit(sentineld::shell::run(std::env::args_os().collect()));
}
