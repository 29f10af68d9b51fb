//! A Transport over HTTP/2: clusters, balancing, connections. Knows nothing of dialects, routes and JSON.
