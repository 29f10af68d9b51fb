//! google.api.http templates and the match table: (verb, path) → route and captures. Knows nothing of bodies and upstreams.
