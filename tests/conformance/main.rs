//! protobuf's own conformance runner against the codec. Started by the runner, this program is what is tested.

#![expect(clippy::print_stdout, reason = "the runner's own summary is part of what the tests say")]

mod runner;
mod testee;

use libtest_mimic::{Arguments, Trial};
use testee::Route;

fn main() -> std::process::ExitCode {
    if let Some((route, set)) = runner::started_by_runner() {
        return testee::serve(route, &set);
    }
    let trials = [
        Trial::test("every_conversion_conforms", || runner::run(Route::Direct)),
        Trial::test("binary_messages_survive_the_way_through_json", || runner::run(Route::ThroughJson)),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials.into()).exit_code()
}
