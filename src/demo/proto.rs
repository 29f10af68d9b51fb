//! The code generated from `proto/demo` and from the `google` files that it uses; knows no behaviour.

#![allow(unreachable_pub, unused_qualifications, clippy::all, reason = "generated code is not held to our lints")]

pub mod demo {
    pub mod chat {
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/demo/demo.chat.v1.rs"));
        }
    }
    pub mod liker {
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/demo/demo.liker.v1.rs"));
        }
    }
}

pub mod google {
    pub mod api {
        include!(concat!(env!("OUT_DIR"), "/demo/google.api.rs"));
    }
    pub mod rpc {
        include!(concat!(env!("OUT_DIR"), "/demo/google.rpc.rs"));
    }
}
