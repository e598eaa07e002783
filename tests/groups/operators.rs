//! What operators do to a group: forced failovers, RESET, REMOVE and MONITOR.
