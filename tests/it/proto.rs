//! The messages and services of `proto/tidegate`, as the build script generated them.

#![allow(
    clippy::all,
    clippy::pedantic,
    clippy::semicolon_if_nothing_returned,
    clippy::uninlined_format_args,
    unused_qualifications,
    unreachable_pub,
    dead_code,
    reason = "generated"
)]

pub mod google {
    pub mod api {
        include!(concat!(env!("OUT_DIR"), "/google.api.rs"));
    }
}

pub mod tidegate {
    pub mod test {
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/tidegate.test.v1.rs"));
        }
    }
}

pub mod reflection {
    include!(concat!(env!("OUT_DIR"), "/grpc.reflection.v1.rs"));
}

/// Frames of many calls on one WebSocket.
pub mod mux {
    include!(concat!(env!("OUT_DIR"), "/tidegate.mux.v1.rs"));
}

pub use google::api::HttpBody;
pub use tidegate::test::v1::*;

/// The descriptor set of the test services with everything they import.
pub const DESCRIPTOR_SET: &str = concat!(env!("OUT_DIR"), "/test.binpb");

/// The same as descriptors.
pub static POOL: std::sync::LazyLock<prost_reflect::DescriptorPool> = std::sync::LazyLock::new(|| {
    let set = std::fs::read(DESCRIPTOR_SET).expect("built");
    prost_reflect::DescriptorPool::decode(set.as_slice()).expect("a descriptor set")
});
