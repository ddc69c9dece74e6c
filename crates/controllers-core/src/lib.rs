//! One module per controller, each plan(view, now) -> Plan; decides only.
