//! Descriptors from files, proto sources or reflection, merged; methods and their rules. Knows nothing of JSON and HTTP bodies.
