//! Elections and speed: how often a second candidacy is needed, how long a failover takes.
