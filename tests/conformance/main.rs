//! protobuf's own conformance runner against the codec. Started by the runner, this program is what is tested.

#![expect(clippy::print_stdout, reason = "the runner's own summary is part of what the tests say")]

mod protos;
mod runner;
mod testee;

use libtest_mimic::{Arguments, Trial};
use protos::Edition;
use testee::Route;

fn main() -> std::process::ExitCode {
    if let Some((route, set)) = runner::started_by_runner() {
        return testee::serve(route, &set);
    }
    let trials = [
        ("every_conversion_conforms", Route::Direct, Edition::E2023),
        ("every_conversion_conforms_in_edition_2024", Route::Direct, Edition::E2024),
        ("binary_messages_survive_the_way_through_json", Route::ThroughJson, Edition::E2023),
    ];
    let trials = trials.map(|(name, route, edition)| Trial::test(name, move || runner::run(route, edition)));
    libtest_mimic::run(&Arguments::from_args(), trials.into()).exit_code()
}
