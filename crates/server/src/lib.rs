//! Assembly only: a Config in, parts started in order, stopped in reverse.
