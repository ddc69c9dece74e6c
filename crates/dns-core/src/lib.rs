//! Records from services and endpoints; the answer to a query as a value; decides only.
