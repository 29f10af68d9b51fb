//! The configuration file and the command line → [`Settings`]; the only place that derives serde for it.

mod settings;

pub use settings::*;
