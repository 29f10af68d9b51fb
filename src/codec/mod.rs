//! JSON ⇄ protobuf wire by plans compiled from descriptors; path, query and body binding. Knows nothing of HTTP and I/O.
